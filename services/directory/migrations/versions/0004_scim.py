"""what SCIM clients say of people and groups

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("scim", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        schema="directory",
    )
    op.add_column("users", sa.Column("external_id", sa.Text(), nullable=True), schema="directory")
    op.add_column("groups", sa.Column("external_id", sa.Text(), nullable=True), schema="directory")
    op.create_index(
        "uq_users_scim_name",
        "users",
        [sa.text("lower(coalesce(scim ->> 'userName', username))")],
        unique=True,
        schema="directory",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_users_scim_emails",
        "users",
        [sa.text("(lower((scim -> 'emails')::text)::jsonb) jsonb_path_ops")],
        schema="directory",
        postgresql_using="gin",
    )
    op.create_index(
        "ix_users_external_id",
        "users",
        ["external_id"],
        schema="directory",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    for name in ("ix_users_external_id", "ix_users_scim_emails", "uq_users_scim_name"):
        op.drop_index(name, table_name="users", schema="directory")
    op.drop_column("groups", "external_id", schema="directory")
    op.drop_column("users", "external_id", schema="directory")
    op.drop_column("users", "scim", schema="directory")
