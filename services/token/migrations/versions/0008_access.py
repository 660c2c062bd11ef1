"""the copy of access rules, and what they look at of a grant

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_copy",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="token",
    )
    op.add_column("grants", sa.Column("issuer", sa.Text(), nullable=True), schema="token")
    op.add_column("grants", sa.Column("address", sa.Text(), nullable=False, server_default=""), schema="token")


def downgrade() -> None:
    op.drop_column("grants", "address", schema="token")
    op.drop_column("grants", "issuer", schema="token")
    op.drop_table("rule_copy", schema="token")
