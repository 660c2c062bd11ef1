"""providers that were closed, whose people are being invited to choose a password

Revision: 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "closed_provider",
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("provider_id"),
        schema="authz",
    )


def downgrade() -> None:
    op.drop_table("closed_provider", schema="authz")
