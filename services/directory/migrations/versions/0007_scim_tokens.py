"""tokens with which other systems push people and groups, and what they were last refused

Revision: 0007, after 0006.

Names that SCIM clients say are unique within an organization, and no more within the installation: nobody takes a name
that somebody else's directory will push.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = "lower(coalesce(scim ->> 'userName', username))"
_STANDS = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "scim_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["directory.organizations.id"]),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.create_table(
        "scim_failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["directory.scim_tokens.id"]),
        sa.PrimaryKeyConstraint("id"),
        schema="directory",
    )
    op.create_index("ix_scim_failures_token", "scim_failures", ["token_id", "id"], schema="directory")
    op.create_index("ix_users_scim_name", "users", [sa.text(_NAME)], schema="directory", postgresql_where=_STANDS)
    op.create_index(
        "uq_users_scim_name_within",
        "users",
        [sa.text("coalesce(organization_id, '')"), sa.text(_NAME)],
        unique=True,
        schema="directory",
        postgresql_where=_STANDS,
    )
    op.drop_index("uq_users_scim_name", table_name="users", schema="directory")


def downgrade() -> None:
    op.create_index(
        "uq_users_scim_name",
        "users",
        [sa.text(_NAME)],
        unique=True,
        schema="directory",
        postgresql_where=_STANDS,
    )
    op.drop_index("uq_users_scim_name_within", table_name="users", schema="directory")
    op.drop_index("ix_users_scim_name", table_name="users", schema="directory")
    op.drop_table("scim_failures", schema="directory")
    op.drop_table("scim_tokens", schema="directory")
