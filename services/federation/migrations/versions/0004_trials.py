"""Trial sign-ins of administrators

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "federation"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "trial",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("keep_until", moment, nullable=False),
        sa.Column("begun_at", moment, nullable=True),
        sa.Column("finished_at", moment, nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("steps", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index("uq_trial_ticket_hash", "trial", ["ticket_hash"], unique=True, schema=SCHEMA)
    op.create_index("ix_trial_keep_until", "trial", ["keep_until"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("trial", schema=SCHEMA)
