"""devices that ask to be connected

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
    op.create_table(
        "device_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scope", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("resource", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("flow_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="authz",
    )
    op.create_index(
        "ix_device_request_user_code_hash", "device_request", ["user_code_hash"], unique=True, schema="authz"
    )
    op.create_index("ix_device_request_expires_at", "device_request", ["expires_at"], unique=False, schema="authz")


def downgrade() -> None:
    op.drop_table("device_request", schema="authz")
