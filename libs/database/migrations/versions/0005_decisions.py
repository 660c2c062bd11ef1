"""what access rules decided

Revision: 0005, after 0004.

Whoever decides writes a row (authz at sign-in, token at refresh and exchange), authz alone reads and forgets them.
What was decided on is sealed: groups, e-mail and claims stand nowhere in clear.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCRIPT = """
CREATE TABLE bus.decisions (
    id text PRIMARY KEY CHECK (length(id) <= 64),
    at timestamptz NOT NULL,
    written_by text NOT NULL DEFAULT current_user,
    occasion text NOT NULL,
    client_id text NOT NULL,
    user_id text,
    allowed boolean NOT NULL,
    outcome text NOT NULL,
    rule text,
    rule_id text,
    service_account text,
    roles text[] NOT NULL,
    policy text[] NOT NULL,
    why text NOT NULL,
    failures jsonb NOT NULL,
    facts bytea NOT NULL
);
CREATE INDEX decisions_at ON bus.decisions (at);
CREATE INDEX decisions_user ON bus.decisions (user_id, id);
CREATE INDEX decisions_client ON bus.decisions (client_id, id);
ALTER TABLE bus.decisions ENABLE ROW LEVEL SECURITY;
CREATE POLICY decisions_write ON bus.decisions FOR INSERT WITH CHECK (written_by = current_user);
CREATE POLICY decisions_read ON bus.decisions FOR SELECT TO watchword_authz USING (true);
CREATE POLICY decisions_sweep ON bus.decisions FOR DELETE TO watchword_authz USING (true);
GRANT INSERT ON bus.decisions TO watchword_authz, watchword_token;
GRANT SELECT, DELETE ON bus.decisions TO watchword_authz;
"""


def upgrade() -> None:
    for statement in SCRIPT.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE bus.decisions")
