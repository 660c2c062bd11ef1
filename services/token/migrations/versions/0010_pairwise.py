"""pairwise subjects

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pairwise_subjects",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
        schema="token",
    )
    op.create_index("ix_pairwise_subjects_user_id", "pairwise_subjects", ["user_id"], unique=False, schema="token")


def downgrade() -> None:
    op.drop_table("pairwise_subjects", schema="token")
