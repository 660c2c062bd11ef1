"""Warm tables of realistic size, and tokens to ask with."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import orjson

from watchword.installation import DATABASE, Installation
from watchword.supervisor import Running
from watchword_database import Database
from watchword_database.ids import new_id
from watchword_events.exports import UserExport
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_runtime.keyring import Keyring
from watchword_testkit.holder import Holder
from watchword_token.families import Families
from watchword_token.keys import Keys
from watchword_token.tokens import compact

SCOPE = "openid profile email"
REDIRECT_URI = "https://app.example.test/callback"
BILLING = "https://billing.example.test"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_OTHERS = """
INSERT INTO token.grants (id, version, user_id, client_id, sid, session_bound, scope, resource, rev, auth_time, amr,
                          code_hash, created_at, expires_at, seq, cur_hash, prev_hash, rotated_at, idle_at)
SELECT gen_random_uuid()::text, 1, 'user-' || n % 100000, 'client-' || n % 1000, gen_random_uuid()::text, true,
       'openid profile email', '', $1, now(), 'pwd', sha256(('code' || n)::bytea), now(), now() + interval '30 days', 2,
       sha256(('cur' || n)::bytea), sha256(('prev' || n)::bytea), now(), now() + interval '14 days'
  FROM generate_series($2::int, $3::int) AS n
"""
_PIECE = 50_000
_FAMILIES = 256  # for one run: more than there are connections


@dataclass(frozen=True)
class App:
    """A client at the measured installation. form: its credentials as form fields."""

    client_id: str
    secret: str

    @property
    def form(self) -> str:
        return f"client_id={self.client_id}&client_secret={self.secret}"


@dataclass(frozen=True)
class Seeds:
    """What the load scripts work with: clients, and files with a token a line; refresh tokens for each run.

    issuer: of the installation.  data: where files go.  proofs_count: how many proofs one run may use up.
    """

    issuer: str
    data: Path
    proofs_count: int
    jwt: App
    opaque: App
    exchange: App
    device: App
    refresh_jwt: list[Path]
    refresh_id: list[Path]
    refresh_opaque: list[Path]
    access_jwt: Path
    access_opaque: Path

    def proofs(self) -> Path:
        """Fresh DPoP proofs for the token endpoint, a line each, with a nonce that the server gave just now."""
        holder, url = Holder(), f"{self.issuer}/oauth2/token"
        form = {"grant_type": "client_credentials", "client_id": self.jwt.client_id, "client_secret": self.jwt.secret}
        answer = httpx2.post(url, data=form, headers={"DPoP": holder.proof("POST", url)}, trust_env=False)
        nonce = answer.headers.get("DPoP-Nonce")
        return _write(
            self.data / "proofs.txt", [holder.proof("POST", url, nonce=nonce) for _ in range(self.proofs_count)]
        )


async def register(api: httpx2.AsyncClient, **metadata: object) -> App:
    """A client as an administrator makes one."""
    answer = await api.post(
        "/api/v1/clients",
        json={
            "client_name": "bench",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_method": "client_secret_post",
            "scope": f"{SCOPE} offline_access read",
            "access_token_lifetime_s": 36_000,
            **metadata,
        },
    )
    answer.raise_for_status()
    made = answer.json()
    return App(made["client_id"], made["client_secret"])


async def seed(
    running: Running,
    data: Path,
    *,
    grants: int,
    users: int,
    tokens: int,
    runs: int,
    proofs: int,
    people: Sequence[str] | None = None,
) -> Seeds:
    """`grants` grants of strangers, `users` users, `tokens` access tokens of each kind, refresh tokens for `runs` runs.

    proofs: how many a run may use.  people: ids of users that are there already, in place of new ones.
    Tokens are made with the installation's own keys, as the service makes them; no two are the same.
    """
    installation = Installation.opened(data / "secrets")
    headers = {"Watchword-API-Key": running.admin.admin_token}
    async with httpx2.AsyncClient(base_url=running.issuer, headers=headers, timeout=30) as api:
        jwt = await register(api, access_token_format="jwt")
        opaque = await register(api, access_token_format="opaque")
        policy = {"audiences": [BILLING], "scope": SCOPE, "subject_clients": [jwt.client_id]}
        exchange = await register(
            api, grant_types=[EXCHANGE], redirect_uris=[], response_types=[], exchange_policies=[policy]
        )
        device = await register(api, grant_types=[DEVICE_CODE], redirect_uris=[], response_types=[])
    connection = await asyncpg.connect(running.postgres.url(DATABASE))
    try:
        position = await connection.fetchval("SELECT position FROM bus.ledger")
        for first in range(1, grants + 1, _PIECE):
            await connection.execute(_OTHERS, position, first, min(first + _PIECE - 1, grants))
        people = people or await _people(connection, users)
        maker = await _Maker.opened(installation, running, data)
        refresh = [
            [await maker.families(connection, app, people, f"{name}-{run}", position) for run in range(runs)]
            for app, name in ((jwt, "jwt"), (jwt, "id"), (opaque, "opaque"))
        ]
        access = [
            maker.access_tokens(app, people, tokens, position, is_opaque=is_opaque)
            for app, is_opaque in ((jwt, False), (opaque, True))
        ]
        await maker.close()
        await connection.execute("VACUUM ANALYZE token.grants")
        await connection.execute("VACUUM ANALYZE token.user_copy")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return Seeds(running.issuer, data, proofs, jwt, opaque, exchange, device, *refresh, access[0], access[1])


async def _people(connection: asyncpg.Connection, users: int) -> list[str]:
    """Users as directory exports them, straight into the copy."""
    ids = [new_id() for _ in range(users)]
    rows = []
    for number, user_id in enumerate(ids):
        export = UserExport(
            id=user_id,
            username=f"person{number}",
            email=f"person{number}@example.test",
            email_verified=True,
            claims={"name": f"Person {number}", "given_name": "Person", "family_name": str(number), "locale": "en"},
            claims_version=1,
        )
        rows.append((user_id, 1, False, export.model_dump_json()))
    await connection.copy_records_to_table(
        "user_copy", schema_name="token", records=rows, columns=["id", "version", "deleted", "data"]
    )
    return ids


class _Maker:
    """Makes tokens with the keys of the installation."""

    def __init__(self, database: Database, keys: Keys, families: Families, issuer: str, data: Path) -> None:
        self._database = database
        self._keys = keys
        self._families = families
        self._issuer = issuer
        self._data = data

    @classmethod
    async def opened(cls, installation: Installation, running: Running, data: Path) -> "_Maker":
        """With the keys that the installation made at its first start."""
        password = installation.database_passwords[Service.TOKEN]
        database = Database(
            running.postgres.url(DATABASE, user=Service.TOKEN.role, password=password), service=Service.TOKEN
        )
        keyring = Keyring(installation.keys_of(Service.TOKEN))
        keys = Keys(database, keyring)
        await keys.start()
        return cls(database, keys, Families(keyring.key("refresh")), running.issuer, data)

    async def close(self) -> None:
        await self._database.dispose()

    async def families(
        self, connection: asyncpg.Connection, app: App, people: Sequence[str], name: str, position: int
    ) -> Path:
        """Grants with a known first refresh token, a line each."""
        now = datetime.now(UTC)
        rows: list[tuple[Any, ...]] = []
        lines = []
        for number in range(_FAMILIES):
            token = self._families.first(new_id())  # type: ignore[arg-type]  # a GrantId is a str
            lines.append(token.text)
            later = now + timedelta(days=30)
            user_id = people[number % len(people)]
            granted = (token.gid, 1, user_id, app.client_id, new_id(), True, SCOPE, "", position, now, "pwd")
            rows.append((*granted, secrets.token_bytes(32), now, later, 1, token.hash, later))
        columns = "id version user_id client_id sid session_bound scope resource rev auth_time amr code_hash"
        await connection.copy_records_to_table(
            "grants",
            schema_name="token",
            records=rows,
            columns=[*columns.split(), "created_at", "expires_at", "seq", "cur_hash", "idle_at"],
        )
        return self._write(f"refresh-{name}", lines)

    def access_tokens(self, app: App, people: Sequence[str], count: int, position: int, *, is_opaque: bool) -> Path:
        """Access tokens of people, a line each."""
        now_s = int(utc_now().timestamp())
        key = self._keys.signing("ES256")
        lines = []
        for number in range(count):
            claims: dict[str, Any] = {
                "iss": self._issuer,
                "sub": people[number % len(people)],
                "aud": [app.client_id, self._issuer],
                "exp": now_s + 36_000,
                "iat": now_s,
                "jti": new_id(),
                "client_id": app.client_id,
                "rev": position,
                "scope": SCOPE,
                "gid": new_id(),
                "auth_time": now_s,
                "sid": new_id(),
            }
            payload = orjson.dumps(claims)
            token = self._keys.encryption.seal(payload) if is_opaque else compact(key, key.access_header, payload)
            lines.append(token.decode())
        return self._write(f"access-{app.client_id}", lines)

    def _write(self, name: str, lines: list[str]) -> Path:
        return _write(self._data / f"{name}.txt", lines)


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path
