"""how far each owner's events were published

Revision: 0009, after 0008.

Whoever is asked for a position looks here which place in the owner's stream it has to have dealt with.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SERVICES = ("authz", "token", "federation", "directory", "admin")
ALL = ", ".join(f"watchword_{name}" for name in SERVICES)

SCRIPT = f"""
CREATE TABLE bus.published (
    owner text PRIMARY KEY,
    row_id bigint NOT NULL,
    stream_seq bigint NOT NULL
);
ALTER TABLE bus.published ENABLE ROW LEVEL SECURITY;
CREATE POLICY published_read ON bus.published FOR SELECT USING (true);
CREATE POLICY published_write ON bus.published FOR INSERT WITH CHECK ('watchword_' || owner = current_user);
CREATE POLICY published_move ON bus.published FOR UPDATE USING ('watchword_' || owner = current_user);
GRANT SELECT, INSERT, UPDATE ON bus.published TO {ALL};
"""


def upgrade() -> None:
    for statement in SCRIPT.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE bus.published")
