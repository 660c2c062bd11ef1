"""when API keys were last used

Revision: 0012, after 0011.

Every service takes API keys, so each may say that one was used; only the time of a row may change. `token` shows it to
the key's owner.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ALL = ", ".join(f"watchword_{name}" for name in ("authz", "token", "federation", "directory", "admin"))


def upgrade() -> None:
    op.execute(
        "CREATE TABLE bus.api_key_uses ("
        " key_id text PRIMARY KEY CHECK (length(key_id) <= 64), used_at timestamptz NOT NULL)"
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE (used_at) ON bus.api_key_uses TO {ALL}")


def downgrade() -> None:
    op.execute("DROP TABLE bus.api_key_uses")
