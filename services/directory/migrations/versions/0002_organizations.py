"""organizations, groups, roles and assignments; administrators of before become owners

Nothing had been released with the columns `roles` and `groups` of users, so they go at once.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BUILT_IN = {
    "owner": "May do everything, and alone makes other owners",
    "administrator": "Administers the installation",
    "help-desk": "Helps people to sign in",
    "auditor": "Sees everything and changes nothing",
    "organization-administrator": "Administers one organization",
}
_ROLES = """
INSERT INTO directory.roles (id, version, name, description, permissions, is_built_in, created_at, updated_at)
VALUES (:name, 1, :name, :description, '{}', true, now(), now())
"""
_OWNERS = """
INSERT INTO directory.assignments (id, role_id, user_id, created_at)
SELECT gen_random_uuid()::text, 'owner', id, now() FROM directory.users
 WHERE roles ? 'administrator' AND deleted_at IS NULL
"""
_GROUPS = """
INSERT INTO directory.groups (id, version, name, full_name, created_at, updated_at)
SELECT gen_random_uuid()::text, 1, name, name, now(), now()
  FROM (SELECT DISTINCT ON (lower(name)) name
          FROM directory.users, jsonb_array_elements_text(groups) AS name
         WHERE deleted_at IS NULL ORDER BY lower(name), name) AS named
"""
_MEMBERSHIPS = """
INSERT INTO directory.memberships (group_id, user_id, created_at)
SELECT DISTINCT g.id, u.id, now()
  FROM directory.users u, jsonb_array_elements_text(u.groups) AS named(name), directory.groups g
 WHERE u.deleted_at IS NULL AND lower(g.full_name) = lower(named.name)
"""
# Other services copy the new role when they hear of it.
_RISE = """
WITH risen AS (
    UPDATE directory.users u SET version = u.version + 1, claims_version = u.version + 1
      FROM directory.assignments a WHERE a.user_id = u.id
    RETURNING u.id, u.version
)
INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body)
SELECT 'user.updated', 'auth.directory.user.updated', id, version,
       jsonb_build_object('id', id, 'version', version, 'claims_version', version)
  FROM risen
"""


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("short_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("external_id", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("domain_id", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.create_index(
        "uq_organizations_external_id",
        "organizations",
        [sa.literal_column("(external_id #>> '{}')")],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_organizations_short_name",
        "organizations",
        [sa.literal_column("lower(short_name)")],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "organization_domains",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("challenge", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["directory.organizations.id"]),
        sa.PrimaryKeyConstraint("organization_id", "domain"),
        schema="directory",
    )
    op.create_index(
        "uq_organization_domains_verified",
        "organization_domains",
        ["domain"],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("verified_at IS NOT NULL"),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["directory.organizations.id"]),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.create_index(
        "ix_groups_organization",
        "groups",
        ["organization_id"],
        unique=False,
        schema="directory",
        postgresql_where=sa.text("organization_id IS NOT NULL"),
    )
    op.create_index(
        "uq_groups_full_name",
        "groups",
        [sa.literal_column("lower(full_name)")],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "nestings",
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("child_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["child_id"], ["directory.groups.id"]),
        sa.ForeignKeyConstraint(["parent_id"], ["directory.groups.id"]),
        sa.PrimaryKeyConstraint("parent_id", "child_id"),
        schema="directory",
    )
    op.create_index("ix_nestings_child", "nestings", ["child_id"], unique=False, schema="directory")
    op.create_table(
        "memberships",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["directory.groups.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["directory.users.id"]),
        sa.PrimaryKeyConstraint("group_id", "user_id"),
        schema="directory",
    )
    op.create_index("ix_memberships_user", "memberships", ["user_id"], unique=False, schema="directory")
    op.create_table(
        "roles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("permissions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_built_in", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.create_index(
        "uq_roles_name",
        "roles",
        [sa.literal_column("lower(name)")],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("num_nonnulls(user_id, group_id) = 1", name="ck_assignments_one_holder"),
        sa.ForeignKeyConstraint(["group_id"], ["directory.groups.id"]),
        sa.ForeignKeyConstraint(["organization_id"], ["directory.organizations.id"]),
        sa.ForeignKeyConstraint(["role_id"], ["directory.roles.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["directory.users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "role_id",
            "user_id",
            "group_id",
            "organization_id",
            name="uq_assignments_key",
            postgresql_nulls_not_distinct=True,
        ),
        schema="directory",
    )
    for column in ("user", "group", "organization"):
        op.create_index(
            f"ix_assignments_{column}",
            "assignments",
            [f"{column}_id"],
            unique=False,
            schema="directory",
            postgresql_where=sa.text(f"{column}_id IS NOT NULL"),
        )
    op.create_table(
        "attributes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema="directory",
    )
    op.create_table(
        "claims_due",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("behind", sa.Text(), nullable=False),
        sa.Column("behind_id", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.add_column("users", sa.Column("organization_id", sa.Text(), nullable=True), schema="directory")
    op.create_foreign_key(
        "fk_users_organization",
        "users",
        "organizations",
        ["organization_id"],
        ["id"],
        source_schema="directory",
        referent_schema="directory",
    )
    op.create_index(
        "ix_users_organization",
        "users",
        ["organization_id", "id"],
        unique=False,
        schema="directory",
        postgresql_where=sa.text("organization_id IS NOT NULL"),
    )
    op.add_column(
        "users",
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="{}"),
        schema="directory",
    )
    op.alter_column("users", "attributes", server_default=None, schema="directory")
    for name, description in _BUILT_IN.items():
        op.get_bind().execute(sa.text(_ROLES), {"name": name, "description": description})
    for statement in (_OWNERS, _RISE, _GROUPS, _MEMBERSHIPS):
        op.execute(statement)
    op.drop_index("ix_users_administrators", table_name="users", schema="directory")
    op.drop_column("users", "roles", schema="directory")
    op.drop_column("users", "groups", schema="directory")


def downgrade() -> None:
    for name in ("groups", "roles"):
        op.add_column(
            "users",
            sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="[]"),
            schema="directory",
        )
        op.alter_column("users", name, server_default=None, schema="directory")
    op.create_index(
        "ix_users_administrators",
        "users",
        ["id"],
        unique=False,
        schema="directory",
        postgresql_where=sa.text("roles @> '[\"administrator\"]'::jsonb"),
    )
    op.execute(
        """
        UPDATE directory.users u SET roles = '["administrator"]'
         WHERE EXISTS (SELECT FROM directory.assignments a
                        WHERE a.user_id = u.id AND a.role_id IN ('owner', 'administrator'))
        """
    )
    op.execute(
        """
        UPDATE directory.users u SET groups = held.names
          FROM (SELECT m.user_id, jsonb_agg(g.full_name ORDER BY g.full_name) AS names
                  FROM directory.memberships m JOIN directory.groups g ON g.id = m.group_id AND g.deleted_at IS NULL
                 GROUP BY m.user_id) AS held
         WHERE held.user_id = u.id
        """
    )
    op.drop_column("users", "attributes", schema="directory")
    op.drop_index("ix_users_organization", table_name="users", schema="directory")
    op.drop_constraint("fk_users_organization", "users", schema="directory", type_="foreignkey")
    op.drop_column("users", "organization_id", schema="directory")
    for table in (
        "claims_due",
        "attributes",
        "assignments",
        "roles",
        "memberships",
        "nestings",
        "groups",
        "organization_domains",
        "organizations",
    ):
        op.drop_table(table, schema="directory")
