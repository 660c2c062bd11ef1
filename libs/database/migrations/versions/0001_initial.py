"""The shared schema: hand-overs, the revocation ledger, what may be spent once, numbers of sealing processes.

Every service role may INSERT; row-level security limits what each may write, read and take. The claims that a role may
end are its own: `token` alone may end anything, because it serves POST /api/v1/revocations.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICES = ("authz", "token", "federation", "directory", "admin")
ALL = ", ".join(f"watchword_{name}" for name in SERVICES)

# kind, sender, receiver: the closed table of design section 2
ROUTES = (
    ("upstream-start", "authz", "federation"),
    ("identity", "federation", "directory"),
    ("prove-account", "directory", "authz"),
    ("account-proved", "authz", "directory"),
    ("signed-in", "directory", "authz"),
    ("code", "authz", "token"),
    ("set-password", "directory", "authz"),
)
# role → claims that it may end
OWN_CLAIMS = {
    "authz": ("sid", "sub", "gid"),
    "directory": ("sub", "idp"),
    "admin": ("client_id", "idp"),
    "token": ("jti", "gid", "sid", "sub", "client_id", "kid", "idp", "all"),
}

HANDOVER = """
CREATE TABLE bus.handover (
    ticket_hash bytea PRIMARY KEY,
    kind text NOT NULL,
    sender text NOT NULL DEFAULT current_user,
    receiver text NOT NULL,
    flow text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    taken_at timestamptz,
    keep_until timestamptz NOT NULL,
    CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({routes}))
);
CREATE INDEX handover_pending ON bus.handover (receiver, kind, flow) WHERE taken_at IS NULL;
CREATE INDEX handover_keep_until ON bus.handover (keep_until);
ALTER TABLE bus.handover ENABLE ROW LEVEL SECURITY;
CREATE POLICY handover_write ON bus.handover FOR INSERT WITH CHECK (sender = current_user);
CREATE POLICY handover_read ON bus.handover FOR SELECT USING (receiver = current_user);
CREATE POLICY handover_take ON bus.handover FOR UPDATE USING (receiver = current_user);
CREATE POLICY handover_sweep ON bus.handover FOR DELETE USING (receiver = current_user);
GRANT INSERT, SELECT, DELETE, UPDATE (taken_at) ON bus.handover TO {all};
"""

REVOCATIONS = """
CREATE TABLE bus.revocations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint UNIQUE,
    claim text NOT NULL CHECK (claim IN ('jti', 'gid', 'sid', 'sub', 'client_id', 'kid', 'idp', 'all')),
    value text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cut', 'state', 'lift')),
    until timestamptz NOT NULL,
    keep_until timestamptz NOT NULL,
    issued_before timestamptz,
    reason text NOT NULL,
    written_by text NOT NULL DEFAULT current_user,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revocations_unpositioned ON bus.revocations (id) WHERE position IS NULL;
CREATE INDEX revocations_keep_until ON bus.revocations (keep_until);
ALTER TABLE bus.revocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY revocations_write ON bus.revocations FOR INSERT WITH CHECK (
    position IS NULL AND written_by = current_user AND (current_user::text, claim) IN ({own_claims}));
CREATE POLICY revocations_read ON bus.revocations FOR SELECT USING (true);
CREATE POLICY revocations_order ON bus.revocations FOR UPDATE TO watchword_token USING (true);
CREATE POLICY revocations_sweep ON bus.revocations FOR DELETE TO watchword_token USING (keep_until < now());
GRANT SELECT, INSERT ON bus.revocations TO {all};
GRANT UPDATE (position), DELETE ON bus.revocations TO watchword_token;

CREATE TABLE bus.ledger (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
INSERT INTO bus.ledger (position) VALUES (1::bigint << 40);
GRANT SELECT ON bus.ledger TO {all};
GRANT UPDATE (position) ON bus.ledger TO watchword_token;
"""

SPENT = """
CREATE TABLE bus.spent (
    purpose text NOT NULL,
    key_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (purpose, key_hash)
);
CREATE INDEX spent_expires_at ON bus.spent (expires_at);
GRANT INSERT ON bus.spent TO {all};
GRANT SELECT, DELETE ON bus.spent TO watchword_token;

CREATE SEQUENCE bus.sealer_id AS bigint MINVALUE 1 MAXVALUE 4294967295 NO CYCLE;
GRANT USAGE ON SEQUENCE bus.sealer_id TO {all};
GRANT USAGE ON SCHEMA bus TO {all};
"""


def upgrade() -> None:
    routes = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in ROUTES)
    own = ", ".join(f"('watchword_{role}', '{claim}')" for role, claims in OWN_CLAIMS.items() for claim in claims)
    for script in (HANDOVER, REVOCATIONS, SPENT):
        for statement in script.format(routes=routes, own_claims=own, all=ALL).split(";\n"):
            if statement.strip():
                op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA bus CASCADE")
