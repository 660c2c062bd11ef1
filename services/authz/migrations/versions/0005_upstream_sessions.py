"""sessions know the session at the provider that they came from

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("upstream_session", sa.Text(), nullable=True), schema="authz")
    op.create_index(
        "ix_session_upstream_session",
        "session",
        ["upstream_session"],
        schema="authz",
        postgresql_where=sa.text("upstream_session IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_session_upstream_session", table_name="session", schema="authz")
    op.drop_column("session", "upstream_session", schema="authz")
