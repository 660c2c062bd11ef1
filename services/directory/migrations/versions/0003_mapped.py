"""what a provider gives to a person who proves an account first

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
    """The column, with an empty default that release N-1 may leave out."""
    op.add_column(
        "pending_links",
        sa.Column("mapped", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        schema="directory",
    )


def downgrade() -> None:
    op.drop_column("pending_links", "mapped", schema="directory")
