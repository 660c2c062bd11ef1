"""Prints what a filled database costs: `make bench-filled`, or `python -m tests.bench.filled`.

One installation, measured twice with the same load: as it is new, and with 1,000 clients, 1,000,000 users and 100,000
live grants, each in a session, in every table that keeps them (the owner's, the copies, sessions). Aim: no p99 grows
by more than half. Tokens are those of people all over the table, so that what is kept in memory does not hide it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
from tests.bench import whole
from tests.bench.cases import CASES, Row, pin
from tests.bench.generator import Load
from tests.bench.run import GENERATOR, MOST_PROOFS_PER_S, SERVER
from tests.bench.seeding import SCOPE, App, register, seed

from watchword.installation import DATABASE
from watchword.supervisor import Running, running
from watchword_events.exports import UserExport
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

AIM = 1.5
_SMALL = 1_000  # users and grants of the new installation
_PIECE = 50_000
_AT_ONCE = 8
_SIGN_INS = 200
_PASSWORD = "correct horse battery staple"

# $1: an export in which what follows from the number is replaced.  $2, $3: the first and last number.
_USER = """
SELECT md5('filled' || n)::uuid::text AS id, 'filled' || n AS username, 'filled' || n || '@example.test' AS email, n
  FROM generate_series($2::int, $3::int) AS n
"""
_DATA = "$1::jsonb || jsonb_build_object('id', id, 'username', username, 'email', email)"
_FILL_USERS = (
    f"""
INSERT INTO directory.users (id, version, claims_version, username, email, email_verified, profile, attributes, active,
                             created_at, updated_at)
SELECT id, 1, 1, username, email, true, $1::jsonb -> 'claims', '{{}}', true, now(), now() FROM ({_USER}) AS made
""",
    f"INSERT INTO token.user_copy (id, version, deleted, data) SELECT id, 1, false, {_DATA} FROM ({_USER}) AS made",
    f"INSERT INTO admin.user_copies (id, version, deleted, data) SELECT id, 1, false, {_DATA} FROM ({_USER}) AS made",
    f"""
INSERT INTO authz.user_copy (id, version, deleted, data, username, email)
SELECT id, 1, false, {_DATA}, username, email FROM ({_USER}) AS made
""",
)
# $1: the ids of clients.  $2, $3: as above.  $4: the ledger's position.
_GRANT = """
SELECT md5('grant' || n)::uuid::text AS gid, md5('session' || n)::uuid::text AS sid,
       md5('filled' || n)::uuid::text AS user_id, ($1::text[])[1 + n % cardinality($1::text[])] AS client_id, n
  FROM generate_series($2::int, $3::int) AS n WHERE $4::bigint >= 0
"""
_FILL_GRANTS = (
    f"""
INSERT INTO token.grants (id, version, user_id, client_id, sid, session_bound, scope, resource, rev, auth_time, amr,
                          code_hash, created_at, expires_at, seq, cur_hash, rotated_at, idle_at)
SELECT gid, 1, user_id, client_id, sid, true, '{SCOPE}', '', $4, now(), 'pwd', sha256(('code' || gid)::bytea), now(),
       now() + interval '30 days', 1, sha256(gid::bytea), now(), now() + interval '14 days' FROM ({_GRANT}) AS made
""",
    f"""
INSERT INTO authz.session (id, version, secret_hash, user_id, auth_time, amr, rev, address, user_agent, created_at,
                           seen_at, ends_at, expires_at)
SELECT sid, 1, sha256(sid::bytea), user_id, now(), ARRAY['pwd'], $4, '192.0.2.1', 'bench', now(), now(),
       now() + interval '1 day', now() + interval '7 days' FROM ({_GRANT}) AS made
""",
    f"""
INSERT INTO authz.issued_grant (gid, user_id, client_id, sid, offline, issued_at, keep_until)
SELECT gid, user_id, client_id, sid, false, now(), now() + interval '30 days' FROM ({_GRANT}) AS made
 WHERE $4::bigint >= 0
""",
)
_FILLED = ("directory.users", "token.user_copy", "admin.user_copies", "authz.user_copy", "token.grants",
           "authz.session", "authz.issued_grant")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """Of one case, in ms."""

    p50: float
    p99: float


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--grants", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="per run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=20_000, help="different access tokens of each kind")
    chosen = parser.parse_args()
    if chosen.grants > chosen.users:
        parser.error("each grant is of another user")
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as home:
        asyncio.run(measure(chosen, Path(home)))


async def measure(chosen: argparse.Namespace, home: Path) -> None:
    """The table."""
    options = whole.options(home, 1)
    async with running(options, say=lambda _line: None) as found:
        tell("measuring it new")
        new = await figures(chosen, found, home, people=None)
        tell("filling it")
        began = time.perf_counter()
        people = await fill(found, clients=chosen.clients, users=chosen.users, grants=chosen.grants)
        filled_s = time.perf_counter() - began
    tell("starting it again")
    began = time.perf_counter()
    async with running(options, say=lambda _line: None) as found:
        started_s = time.perf_counter() - began
        tell("measuring it filled")
        filled = await figures(chosen, found, home, people=people[:: max(1, len(people) // chosen.tokens)])
        resident, proportional = whole.resident_mb(found.workers[0].pid)
    print(
        f"{chosen.clients:,} clients, {chosen.users:,} users, {chosen.grants:,} live grants; filled in {filled_s:.0f}"
        f" s, started again in {started_s:.1f} s; the worker after it: {resident:.0f} MB ({proportional:.0f} MB)"
        f" resident (proportional). {chosen.rounds} rounds of {chosen.seconds:g} s, {chosen.connections} connections,"
        " medians.\n"
    )
    print("| case | p50 ms | filled | ratio | p99 ms | filled | ratio |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, before in new.items():
        after = filled[name]
        ratios = after.p50 / before.p50, after.p99 / before.p99
        print(
            f"| {name} | {before.p50:.1f} | {after.p50:.1f} | {ratios[0]:.2f} | {before.p99:.1f} | {after.p99:.1f}"
            f" | {ratios[1]:.2f} |"
        )
    worst = max(filled[name].p99 / new[name].p99 for name in new)
    print(f"\nThe p99 that grew most grew by a factor of {worst:.2f}; aim: at most {AIM}.")


def tell(what: str) -> None:
    """For who waits; standard output is for the table."""
    print(f"{time.strftime('%X')} {what}", file=sys.stderr, flush=True)


async def figures(
    chosen: argparse.Namespace, found: Running, home: Path, *, people: list[str] | None
) -> dict[str, Figure]:
    """Every case of `make bench`, and sign-ins, at what runs now. Raises RuntimeError when anything was refused."""
    runs = chosen.rounds + 1
    seeds = await seed(
        found,
        home,
        grants=0 if people else _SMALL,
        users=_SMALL,
        tokens=chosen.tokens,
        runs=runs,
        proofs=int(chosen.seconds * MOST_PROOFS_PER_S),
        people=people,
    )
    pin(found.workers[0].pid, SERVER)
    pin(found.nats.pid, GENERATOR)
    rows = [Row(case) for case in CASES]
    for number in range(runs):
        load = Load(chosen.connections, chosen.seconds if number else 1.0, GENERATOR)
        for row in rows:
            pin(found.postgres.pid, GENERATOR)
            await asyncio.to_thread(row.measure, found.issuer, found.workers[0].pid, seeds, load, number)
    if refused := [row.case.name for row in rows if any(run.errors for run in row.runs)]:
        raise RuntimeError(f"a run with errors is no result: {', '.join(refused)}")
    measured = {
        row.case.name: Figure(
            statistics.median(run.p50_ms for run in row.runs), statistics.median(run.p99_ms for run in row.runs)
        )
        for row in rows
    }
    return {**measured, "sign-in of who is signed in": await sign_ins(found)}


async def sign_ins(found: Running) -> Figure:
    """One after the other, of a person with a session: authorization request, code, tokens."""
    headers = {"Watchword-API-Key": found.admin.admin_token}
    name = f"bench-{time.time_ns()}"
    async with httpx2.AsyncClient(base_url=found.issuer, headers=headers, timeout=30) as api:
        made = await register(api, token_endpoint_auth_method="client_secret_basic", require_consent=False)
        (await api.post("/api/v1/users", json={"username": name, "password": _PASSWORD})).raise_for_status()
    party = Party(found.issuer, made.client_id, made.secret, redirect_uri="https://app.example.test/callback")
    taken = []
    async with Browser(found.issuer) as browser:
        await SignIn(browser, party).with_password(name, _PASSWORD)
        for _ in range(_SIGN_INS):
            began = time.perf_counter()
            await SignIn(browser, party).with_password(name, _PASSWORD)
            taken.append((time.perf_counter() - began) * 1000)
    return Figure(statistics.median(taken), statistics.quantiles(taken, n=100)[98])


async def fill(found: Running, *, clients: int, users: int, grants: int) -> list[str]:
    """The installation has them; the ids of the users. Clients come through the API, the rest by few statements."""
    made = await _clients(found, clients)
    claims = {"name": "Person", "given_name": "Filled", "family_name": "Person", "locale": "en"}
    export = UserExport(id="", username="", email="", email_verified=True, claims=claims, claims_version=1)
    connection = await asyncpg.connect(found.postgres.url(DATABASE))
    try:
        position = await connection.fetchval("SELECT position FROM bus.ledger")
        for first, last in _pieces(users):
            for statement in _FILL_USERS:
                await connection.execute(statement, export.model_dump_json(), first, last)
        for first, last in _pieces(grants):
            for statement in _FILL_GRANTS:
                await connection.execute(statement, [app.client_id for app in made], first, last, position)
        for table in _FILLED:
            await connection.execute(f"VACUUM ANALYZE {table}")
        await connection.execute("CHECKPOINT")
        rows = await connection.fetch(
            f"SELECT id FROM ({_USER.replace('$2', '$1').replace('$3', '$2')}) AS made", 1, users
        )
    finally:
        await connection.close()
    return [row["id"] for row in rows]


async def _clients(found: Running, count: int) -> list[App]:
    headers = {"Watchword-API-Key": found.admin.admin_token}
    async with httpx2.AsyncClient(base_url=found.issuer, headers=headers, timeout=30) as api:
        made: list[App] = []
        while len(made) < count:
            several = min(_AT_ONCE, count - len(made))
            made += await asyncio.gather(*(register(api, access_token_format="jwt") for _ in range(several)))
        return made


def _pieces(count: int) -> list[tuple[int, int]]:
    return [(first, min(first + _PIECE - 1, count)) for first in range(1, count + 1, _PIECE)]


if __name__ == "__main__":
    main()
