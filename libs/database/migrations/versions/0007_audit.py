"""the audit log

Revision: 0007, after 0006.

Whatever an administrator changes is written down by triggers, in the transaction of the change; sign-ins and credential
events come through `bus.audit_note`. Rows wait in `audit_pending` and are chained when their transaction commits, so
that the lock of the chain is the last that is taken and there is no circle. Nobody but these functions writes the log.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SERVICES = ("authz", "token", "federation", "directory", "admin")
ALL = ", ".join(f"watchword_{name}" for name in SERVICES)

TABLES = """
CREATE TABLE bus.audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL,
    hash bytea NOT NULL
);
INSERT INTO bus.audit_head (seq, hash) VALUES (0, sha256('watchword/audit/v1'::bytea));

CREATE TABLE bus.audit_pending (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry jsonb NOT NULL,
    private jsonb NOT NULL
);

CREATE TABLE bus.audit (
    seq bigint PRIMARY KEY,
    entry json NOT NULL,
    private json,
    hash bytea NOT NULL,
    at text GENERATED ALWAYS AS (entry ->> 'at') STORED,
    action text GENERATED ALWAYS AS (entry ->> 'action') STORED,
    kind text GENERATED ALWAYS AS (entry ->> 'kind') STORED,
    resource text GENERATED ALWAYS AS (entry ->> 'resource') STORED,
    actor text GENERATED ALWAYS AS (entry ->> 'actor') STORED,
    reference text GENERATED ALWAYS AS (entry ->> 'reference') STORED
);
CREATE INDEX audit_action ON bus.audit (action, seq);
CREATE INDEX audit_kind ON bus.audit (kind, seq);
CREATE INDEX audit_resource ON bus.audit (resource, seq);
CREATE INDEX audit_actor ON bus.audit (actor, seq);
CREATE INDEX audit_reference ON bus.audit (reference) WHERE reference IS NOT NULL;
GRANT SELECT ON bus.audit, bus.audit_head TO watchword_admin;
"""

FUNCTIONS = (
    # A row as its members: without what says nothing, and with the members of its document in the document's place.
    """
CREATE FUNCTION bus.audit_members(found jsonb, ignored text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT (found - string_to_array(ignored, ',') - 'document')
        || CASE WHEN jsonb_typeof(found -> 'document') = 'object' THEN found -> 'document' ELSE '{}' END
$$
""",
    # `watchword.origin`, set by transaction(): {"public": {…}, "private": {…}} of whoever asks for the change.
    """
CREATE FUNCTION bus.audit_add(entry jsonb, private jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    origin jsonb := nullif(current_setting('watchword.origin', true), '')::jsonb;
BEGIN
    INSERT INTO bus.audit_pending (entry, private) VALUES (
        jsonb_strip_nulls(coalesce(origin -> 'public', '{}') || entry || jsonb_build_object('service', session_user)),
        jsonb_strip_nulls(coalesce(origin -> 'private', '{}') || private));
END
$$
""",
    # Arguments: kind, columns of the key, column of the name, columns that are never shown, columns that say nothing,
    # and whether what it holds is about a person.
    """
CREATE FUNCTION bus.audit_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    before jsonb := '{}';
    after jsonb := '{}';
    found jsonb;
    hidden text[] := string_to_array(TG_ARGV[3], ',');
    is_personal boolean := TG_ARGV[5] = 'personal';
    changes jsonb;
    verb text := 'updated';
    said jsonb;
BEGIN
    IF coalesce(current_setting('watchword.origin', true), '') = '' THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        found := to_jsonb(OLD);
        before := bus.audit_members(found, TG_ARGV[4]);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        found := to_jsonb(NEW);
        after := bus.audit_members(found, TG_ARGV[4]);
    END IF;
    SELECT jsonb_agg(
               CASE WHEN name = ANY (hidden) OR name ~ '(secret|password)'
                    THEN jsonb_build_object('field', name, 'is_secret', true)
                    ELSE jsonb_build_object('field', name, 'before', before -> name, 'after', after -> name) END
               ORDER BY name)
      INTO changes
      FROM (SELECT jsonb_object_keys(before || after) AS name) AS names
     WHERE coalesce(before -> name, 'null') IS DISTINCT FROM coalesce(after -> name, 'null');
    IF TG_OP = 'INSERT' THEN
        verb := 'created';
    ELSIF TG_OP = 'DELETE' OR (before ->> 'deleted_at' IS NULL AND after ->> 'deleted_at' IS NOT NULL) THEN
        verb := 'deleted';
    ELSIF changes IS NULL THEN
        RETURN NULL;
    ELSIF before ->> 'deleted_at' IS NOT NULL AND after ->> 'deleted_at' IS NULL THEN
        verb := 'created';
    ELSIF before ->> 'revoked_at' IS NULL AND after ->> 'revoked_at' IS NOT NULL THEN
        verb := 'revoked';
    ELSIF before ->> 'ended_at' IS NULL AND after ->> 'ended_at' IS NOT NULL THEN
        verb := 'ended';
    ELSIF before -> 'enabled' <> after -> 'enabled' THEN
        verb := CASE WHEN after ->> 'enabled' = 'true' THEN 'enabled' ELSE 'disabled' END;
    ELSIF before -> 'active' <> after -> 'active' THEN
        verb := CASE WHEN after ->> 'active' = 'true' THEN 'enabled' ELSE 'disabled' END;
    END IF;
    said := jsonb_build_object('name', found ->> TG_ARGV[2], 'changes', changes);
    PERFORM bus.audit_add(
        jsonb_build_object(
            'action', TG_ARGV[0] || '.' || verb,
            'kind', TG_ARGV[0],
            'resource', (SELECT string_agg(found ->> key, '/' ORDER BY place)
                           FROM unnest(string_to_array(TG_ARGV[1], ',')) WITH ORDINALITY AS keys (key, place)))
            || CASE WHEN is_personal THEN '{}' ELSE said END,
        CASE WHEN is_personal THEN said ELSE '{}' END);
    RETURN NULL;
END
$$
""",
    # What happened besides changes of rows: an array of {"entry": {…}, "private": {…}}. `actions` of a call are those
    # that stand in the log under its reference.
    """
CREATE FUNCTION bus.audit_note(notes jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    note jsonb;
    said jsonb;
BEGIN
    FOR note IN SELECT * FROM jsonb_array_elements(notes) LOOP
        said := note -> 'entry';
        IF said ->> 'action' = 'api.called' THEN
            said := said || jsonb_build_object('actions', coalesce(
                (SELECT jsonb_agg(DISTINCT action) FROM bus.audit WHERE reference = said ->> 'reference'), '[]'));
        END IF;
        PERFORM bus.audit_add(said, coalesce(note -> 'private', '{}'));
    END LOOP;
END
$$
""",
    # What belongs to a person is hashed with a salt into the entry and kept beside it: it can go without a gap.
    """
CREATE FUNCTION bus.audit_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    head bus.audit_head;
    pending bus.audit_pending;
    said text;
    kept text;
BEGIN
    IF NOT EXISTS (SELECT FROM bus.audit_pending WHERE id = NEW.id) THEN
        RETURN NULL; -- chained with another row of this transaction
    END IF;
    SELECT * INTO head FROM bus.audit_head FOR UPDATE;
    FOR pending IN
        WITH own AS (DELETE FROM bus.audit_pending RETURNING *) SELECT * FROM own ORDER BY id
    LOOP
        kept := CASE WHEN pending.private = '{}' THEN NULL
                     ELSE (pending.private || jsonb_build_object('salt', gen_random_uuid()))::text END;
        said := (jsonb_build_object('at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
                 || pending.entry
                 || jsonb_strip_nulls(jsonb_build_object('private', encode(sha256(convert_to(kept, 'UTF8')), 'hex'))))::text;
        head.seq := head.seq + 1;
        head.hash := sha256(head.hash || convert_to(head.seq || E'\\n' || said, 'UTF8'));
        INSERT INTO bus.audit (seq, entry, private, hash) VALUES (head.seq, said::json, kept::json, head.hash);
    END LOOP;
    UPDATE bus.audit_head SET seq = head.seq, hash = head.hash;
    RETURN NULL;
END
$$
""",
    """
CREATE FUNCTION bus.audit_forget(subject text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE bus.audit SET private = NULL WHERE private IS NOT NULL AND (actor = subject OR resource = subject)
$$
""",
)

RIGHTS = f"""
CREATE CONSTRAINT TRIGGER audit_chain AFTER INSERT ON bus.audit_pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bus.audit_chain();
CREATE TRIGGER audit_revocations AFTER INSERT ON bus.revocations
    FOR EACH ROW EXECUTE FUNCTION bus.audit_row('revocation', 'id', 'value', '', 'id,position,written_by,at', '');
REVOKE ALL ON FUNCTION bus.audit_members, bus.audit_add, bus.audit_row, bus.audit_note, bus.audit_chain,
    bus.audit_forget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bus.audit_note TO {ALL};
GRANT EXECUTE ON FUNCTION bus.audit_forget TO watchword_admin;
"""


def upgrade() -> None:
    run(TABLES)
    for function in FUNCTIONS:
        op.execute(function)
    run(RIGHTS)


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_revocations ON bus.revocations")
    op.execute("DROP TABLE bus.audit, bus.audit_pending, bus.audit_head")
    for name in ("chain()", "row()", "note(jsonb)", "add(jsonb, jsonb)", "members(jsonb, text)", "forget(text)"):
        op.execute(f"DROP FUNCTION bus.audit_{name} CASCADE")


def run(script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            op.execute(statement)
