"""what a provider said of a person at the last sign-in, sealed

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_claims",
        sa.Column("identity_id", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("said_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("keep_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["directory.identities.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("identity_id"),
        schema="directory",
    )
    op.create_index(
        op.f("ix_directory_identity_claims_keep_until"), "identity_claims", ["keep_until"], schema="directory"
    )


def downgrade() -> None:
    op.drop_table("identity_claims", schema="directory")
