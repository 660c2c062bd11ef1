"""An entry of the audit log as the API shows it."""

from collections.abc import Mapping
from datetime import datetime

import orjson
from pydantic import BaseModel, JsonValue

from watchword_database.audit import Break, Entry


class Actor(BaseModel):
    """Who did it. sub: the person, or the client that acted for itself. fed_issuer: of the provider they came through.

    name: null for a client, and once the person is forgotten.
    """

    sub: str | None = None
    name: str | None = None
    issuer: str | None = None
    fed_issuer: str | None = None
    client_id: str | None = None
    api_key_id: str | None = None


class AuditChange(BaseModel):
    """A member that changed. is_secret: it is only said that it did."""

    field: str
    before: JsonValue = None
    after: JsonValue = None
    is_secret: bool = False


class AuditEntry(BaseModel):
    """One entry. seq: its number, without gaps.  hash: of it and all before it.

    action: `<kind>.<what happened>`; `api.called` for a call with its answer, whose changes are entries of their own
    under the same reference.  forgotten: what belonged to a person is gone with them.
    """

    seq: int
    at: datetime
    action: str
    kind: str | None = None
    resource: str | None = None
    name: str | None = None
    actor: Actor
    service: str
    via: str | None = None
    method: str | None = None
    path: str | None = None
    actions: list[str] = []
    response_code: int | None = None
    reference: str | None = None
    address: str | None = None
    user_agent: str | None = None
    changes: list[AuditChange] = []
    details: dict[str, JsonValue] = {}
    forgotten: bool = False
    hash: str


class ChainBreak(BaseModel):
    """Where the log does not hold, and why."""

    seq: int
    what: str


class Verification(BaseModel):
    """Whether every entry is what was written. sealed: the newest number that was signed.

    breaks: the first hundred.  forgotten: entries whose person is gone.  pruned: the number up to which entries were
    let go of, 0 for none.
    """

    valid: bool
    entries: int
    forgotten: int
    hash: str
    sealed: int
    pruned: int = 0
    breaks: list[ChainBreak]


def view(entry: Entry, *, issuer: str, issuers: Mapping[str, str]) -> AuditEntry:
    """The entry with what belongs to the person. issuer: ours.  issuers: of providers, by id."""
    said: dict[str, JsonValue] = orjson.loads(entry.entry)
    private: dict[str, JsonValue] = {} if entry.private is None else orjson.loads(entry.private)
    provider = said.get("provider")
    actor = {
        "sub": said.get("actor"),
        "name": private.get("actor_name"),
        "issuer": issuer if said.get("actor") else None,
        "fed_issuer": issuers.get(str(provider)) if provider else None,
        "client_id": said.get("client"),
        "api_key_id": said.get("api_key"),
    }
    shown = {name: value for name, value in {**said, **private}.items() if name in AuditEntry.model_fields}
    forgotten = entry.private is None and "private" in said
    more = {"seq": entry.seq, "hash": entry.hash.hex(), "actor": actor, "forgotten": forgotten}
    return AuditEntry.model_validate(shown | more)


def break_of(found: Break) -> ChainBreak:
    """The break as it is shown."""
    return ChainBreak(seq=found.seq, what=found.what)
