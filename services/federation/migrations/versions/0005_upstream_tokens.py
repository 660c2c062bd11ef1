"""tokens of providers that are kept for applications

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "federation"
TABLE = "upstream_tokens"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        TABLE,
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("link_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("is_offline", sa.Boolean(), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("kept_at", moment, nullable=False),
        sa.Column("keep_until", moment, nullable=False),
        sa.PrimaryKeyConstraint("identity"),
        schema=SCHEMA,
    )
    op.create_index("ix_upstream_tokens_provider", TABLE, ["provider_id", "subject_hash"], schema=SCHEMA)
    op.create_index("ix_upstream_tokens_user", TABLE, ["user_id"], schema=SCHEMA)
    op.create_index("ix_upstream_tokens_keep_until", TABLE, ["keep_until"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table(TABLE, schema=SCHEMA)
