"""remembered devices

Revision: 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "remembered_device",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_hash"),
        schema="authz",
    )
    op.create_index("ix_remembered_device_user_id", "remembered_device", ["user_id"], unique=False, schema="authz")
    op.create_index(
        "ix_remembered_device_expires_at", "remembered_device", ["expires_at"], unique=False, schema="authz"
    )
    op.add_column(
        "session", sa.Column("is_remembered", sa.Boolean(), nullable=False, server_default=sa.false()), schema="authz"
    )


def downgrade() -> None:
    op.drop_column("session", "is_remembered", schema="authz")
    op.drop_table("remembered_device", schema="authz")
