"""the secret of the client that exchanges a provider's tokens for applications

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("providers", sa.Column("exchange_secret", sa.LargeBinary(), nullable=True), schema="admin")


def downgrade() -> None:
    op.drop_column("providers", "exchange_secret", schema="admin")
