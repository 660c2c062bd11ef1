"""access rules, roles and service accounts

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_rules",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=True),
        sa.Column("precedence", sa.Integer(), nullable=False),
        sa.Column("service_account", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="admin",
    )
    op.create_index(
        "uq_access_rules_name",
        "access_rules",
        [sa.literal_column("coalesce(organization, '')"), "name"],
        unique=True,
        schema="admin",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_access_rules_service_account", "access_rules", ["service_account"], schema="admin")
    op.create_table(
        "service_accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema="admin",
    )


def downgrade() -> None:
    op.drop_table("service_accounts", schema="admin")
    op.drop_table("access_rules", schema="admin")
