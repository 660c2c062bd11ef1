"""back-channel deliveries

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moments = ("created_at", "next_attempt_at", "give_up_at")
    op.create_table(
        "deliveries",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "sid", "client_id", "user_id", "state")),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in moments),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in ("locked_until", "ended_at")),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="token",
    )
    op.create_index("ix_deliveries_sid_client", "deliveries", ["sid", "client_id"], unique=True, schema="token")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at"],
        schema="token",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_grants_sid", "grants", ["sid"], schema="token")


def downgrade() -> None:
    op.drop_index("ix_grants_sid", "grants", schema="token")
    op.drop_table("deliveries", schema="token")
