"""a SCIM token ends with everything else: it knows the position of the ledger from which on that counts

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("rev", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("scim_tokens", column, schema="directory")
    op.execute("UPDATE directory.scim_tokens SET rev = (SELECT position FROM bus.ledger)")


def downgrade() -> None:
    op.drop_column("scim_tokens", "rev", schema="directory")
