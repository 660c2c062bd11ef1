"""Sessions at providers are also found by what the provider calls them

Revision: 0003, after 0002.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "federation"


def upgrade() -> None:
    op.create_index("ix_upstream_session_session", "upstream_session", ["provider_id", "session_hash"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("ix_upstream_session_session", table_name="upstream_session", schema=SCHEMA)
