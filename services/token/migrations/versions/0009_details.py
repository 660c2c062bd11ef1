"""what a grant is for in detail, and claims that were asked for by name

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("details", sa.Text(), nullable=True), schema="token")
    op.add_column("grants", sa.Column("claims", sa.Text(), nullable=True), schema="token")


def downgrade() -> None:
    op.drop_column("grants", "claims", schema="token")
    op.drop_column("grants", "details", schema="token")
