"""the console's access token

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("console_sessions", sa.Column("sealed_token", sa.LargeBinary(), nullable=True), schema="admin")


def downgrade() -> None:
    op.drop_column("console_sessions", "sealed_token", schema="admin")
