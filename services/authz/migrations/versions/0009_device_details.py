"""what exactly a device asks for

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "device_request",
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        schema="authz",
    )


def downgrade() -> None:
    op.drop_column("device_request", "details", schema="authz")
