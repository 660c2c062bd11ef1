"""What goes into the audit log beside changes: calls with their answers, and sign-ins; written behind."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import JsonValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchword_database import Database, audit
from watchword_database.audit import Note, Origin
from watchword_runtime.behind import Behind
from watchword_runtime.telemetry import Telemetry

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class AuditLog:
    """Notes of one process on their way into the log."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        """telemetry: counts sign-ins."""
        self._database = database
        self._sign_ins = telemetry.sign_ins
        self._behind = Behind("audit", self._write)

    def start(self) -> None:
        """Notes are written in the background until stop()."""
        self._behind.start()

    async def stop(self) -> None:
        """Every note is written, where it can be."""
        await self._behind.stop()

    async def flush(self) -> None:
        """Every note so far is in the log."""
        await self._behind.flush()

    def note(
        self,
        action: str,
        *,
        user_id: str | None = None,
        address: str | None = None,
        user_agent: str | None = None,
        **members: JsonValue,
    ) -> None:
        """Something that a person did, or tried. user_id: who it was, as far as that is known.

        members: what else is said of it; never a name, an address or a secret.
        """
        what, _, outcome = action.partition(".")
        if what == "sign_in":
            self._sign_ins[_method(members), outcome] += 1
        entry = {"action": action, "at": _now(), "kind": "user", "resource": user_id, "actor": user_id}
        self._behind.add(Note({**entry, "details": members}, {"address": address, "user_agent": user_agent}))

    def note_call(self, origin: Origin, status: int) -> None:
        """Somebody asked for a change, and was answered so."""
        said = origin.members()
        entry: dict[str, JsonValue] = {"action": "api.called", "at": _now(), "response_code": status, **said["public"]}
        self._behind.add(Note(entry, said["private"]))

    async def _write(self, notes: Sequence[Note]) -> None:
        await audit.note_alone(self._database, notes)


class Calls:
    """ASGI: every call that asks for a change and whose caller is known stands in the log, with its answer."""

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return
        status = 500  # unless an answer begins

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with audit.acting_for_nobody():
            try:
                await self._app(scope, receive, noting)
            finally:
                if (origin := audit.acting()) is not None:
                    self._log.note_call(origin, status)


def _method(said: Mapping[str, JsonValue]) -> str:
    """By what somebody signed in, or tried: a passkey is what came without a password."""
    if said.get("provider_id"):
        return "provider"
    amr = said.get("amr")
    return "passkey" if isinstance(amr, list) and "pwd" not in amr else "password"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
