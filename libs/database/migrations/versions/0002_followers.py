"""who follows the ledger, and how far

Revision: 0002, after 0001.

A row of bus.followers says how far one instance or verifier has applied the ledger. The trigger keeps it honest: the
time is the server's, nobody is further than the ledger, and each step forward leaves a receipt, which no service can
write, change or take back by itself. Who vanishes without a word leaves one that says so. A row at position -1 stands
for a registered verifier that nobody has heard of.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ALL = ", ".join(f"watchword_{name}" for name in ("authz", "token", "federation", "directory", "admin"))

SCRIPT = f"""
CREATE TABLE bus.followers (
    id text PRIMARY KEY CHECK (length(id) <= 400),
    kind text NOT NULL CHECK (kind IN ('service', 'verifier')),
    name text NOT NULL CHECK (length(name) <= 200),
    position bigint NOT NULL,
    bound_s double precision NOT NULL,
    policy text,
    audience text,
    kids text[],
    fresh boolean NOT NULL DEFAULT true,
    heard_at timestamptz DEFAULT clock_timestamp(),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    written_by text NOT NULL DEFAULT current_user
) WITH (fillfactor = 50);
ALTER TABLE bus.followers ENABLE ROW LEVEL SECURITY;
CREATE POLICY followers_read ON bus.followers FOR SELECT USING (true);
CREATE POLICY followers_write ON bus.followers FOR INSERT WITH CHECK (written_by = current_user);
CREATE POLICY followers_report ON bus.followers FOR UPDATE USING (written_by = current_user);
CREATE POLICY followers_leave ON bus.followers FOR DELETE USING (
    written_by = current_user OR (current_user = 'watchword_token' AND heard_at < now() - interval '1 hour'));
GRANT SELECT, INSERT, UPDATE, DELETE ON bus.followers TO {ALL};

CREATE TABLE bus.receipts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    follower text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    after bigint NOT NULL,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    lost_at timestamptz
);
CREATE INDEX receipts_position ON bus.receipts (position);
GRANT SELECT ON bus.receipts TO {ALL};
GRANT DELETE ON bus.receipts TO watchword_token;

CREATE FUNCTION bus.note_receipt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$
BEGIN
    IF TG_WHEN = 'BEFORE' AND NEW.position < 0 THEN
        NEW.position := -1;
        NEW.heard_at := NULL;
    ELSIF TG_WHEN = 'BEFORE' THEN
        NEW.heard_at := pg_catalog.clock_timestamp();
        NEW.position := least(NEW.position, (SELECT l.position FROM bus.ledger AS l));
        IF TG_OP = 'UPDATE' THEN
            NEW.id := OLD.id;
            NEW.written_by := OLD.written_by;
            NEW.started_at := OLD.started_at;
        END IF;
    ELSIF TG_OP = 'INSERT' AND NEW.position > 0 THEN
        INSERT INTO bus.receipts (follower, kind, name, after, position, at)
        VALUES (NEW.id, NEW.kind, NEW.name, 0, NEW.position, NEW.heard_at);
    ELSIF TG_OP = 'UPDATE' AND NEW.position > OLD.position THEN
        INSERT INTO bus.receipts (follower, kind, name, after, position, at)
        VALUES (NEW.id, NEW.kind, NEW.name, greatest(OLD.position, 0), NEW.position, NEW.heard_at);
    ELSIF TG_OP = 'DELETE' AND OLD.heard_at < pg_catalog.clock_timestamp() - (OLD.bound_s + 1) * interval '1 second' THEN
        INSERT INTO bus.receipts (follower, kind, name, after, position, at, lost_at)
        VALUES (OLD.id, OLD.kind, OLD.name, OLD.position, OLD.position, OLD.heard_at, pg_catalog.clock_timestamp());
    END IF;
    RETURN NEW;
END
$body$;;
CREATE TRIGGER followers_honest BEFORE INSERT OR UPDATE ON bus.followers
    FOR EACH ROW EXECUTE FUNCTION bus.note_receipt();;
CREATE TRIGGER followers_receipt AFTER INSERT OR UPDATE OR DELETE ON bus.followers
    FOR EACH ROW EXECUTE FUNCTION bus.note_receipt();
"""


def upgrade() -> None:
    tables, _, functions = SCRIPT.partition("CREATE FUNCTION")
    for statement in (*tables.split(";\n"), *f"CREATE FUNCTION{functions}".split(";;\n")):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE bus.followers; DROP TABLE bus.receipts; DROP FUNCTION bus.note_receipt()")
