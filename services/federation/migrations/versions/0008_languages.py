"""the languages that the application of a sign-in asked for

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
    op.add_column(
        "upstream_flow",
        sa.Column("ui_locales", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        schema="federation",
    )


def downgrade() -> None:
    op.drop_column("upstream_flow", "ui_locales", schema="federation")
