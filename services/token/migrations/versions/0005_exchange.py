"""device codes that are asked about, trusted issuers

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_polls",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("hasty", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("code_hash"),
        schema="token",
    )
    op.create_index("ix_device_polls_expires_at", "device_polls", ["expires_at"], unique=False, schema="token")
    op.create_table(
        "issuer_copy",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("iss", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="token",
    )
    op.create_index("ix_issuer_copy_iss", "issuer_copy", ["iss"], unique=False, schema="token")


def downgrade() -> None:
    op.drop_table("issuer_copy", schema="token")
    op.drop_table("device_polls", schema="token")
