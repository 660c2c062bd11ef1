"""uses of API keys that ended may be forgotten

Revision: 0015, after 0014.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT DELETE ON bus.api_key_uses TO watchword_token")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON bus.api_key_uses FROM watchword_token")
