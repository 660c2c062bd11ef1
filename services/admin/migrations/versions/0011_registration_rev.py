"""an initial access token ends with everything else: it knows the position of the ledger from which on that counts

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("rev", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("registration_tokens", column, schema="admin")
    op.execute("UPDATE admin.registration_tokens SET rev = (SELECT position FROM bus.ledger)")


def downgrade() -> None:
    op.drop_column("registration_tokens", "rev", schema="admin")
