"""scopes and resource servers; organizations, copied

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, more in (("scopes", (sa.Column("is_default", sa.Boolean(), nullable=False),)), ("resources", ())):
        op.create_table(
            table,
            sa.Column("id", sa.Text(), nullable=False),
            sa.Column("version", sa.BigInteger(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            *more,
            sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
            sa.PrimaryKeyConstraint("id"),
            schema="admin",
        )
        op.create_index(
            f"uq_{table}_name",
            table,
            ["name"],
            unique=True,
            schema="admin",
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
    op.create_table(
        "organization_copies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("short_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="admin",
    )
    op.create_index(
        op.f("ix_admin_organization_copies_short_name"),
        "organization_copies",
        ["short_name"],
        unique=False,
        schema="admin",
    )


def downgrade() -> None:
    op.drop_table("organization_copies", schema="admin")
    op.drop_table("resources", schema="admin")
    op.drop_table("scopes", schema="admin")
