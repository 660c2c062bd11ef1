"""key life cycle

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("confirmed_at", "activated_at", "retire_at"):
        op.add_column("keys", sa.Column(name, sa.DateTime(timezone=True), nullable=True), schema="token")
    op.execute("UPDATE token.keys SET activated_at = created_at WHERE state = 'active'")


def downgrade() -> None:
    for name in ("confirmed_at", "activated_at", "retire_at"):
        op.drop_column("keys", name, schema="token")
