"""what binds grants to keys

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("bound_to", sa.Text(), nullable=True), schema="token")


def downgrade() -> None:
    op.drop_column("grants", "bound_to", schema="token")
