"""What SCIM costs: people created, filters over a million people, a group of ten thousand: `make bench-scim`.

One worker with all five services. `--users` says how many people there are, who are put into the table by SQL (a
million take some minutes), `--members` how large the group is. CPU is the worker's, of everything that it does
meanwhile: the other services take over what they keep of each person.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
from tests.bench.whole import options

from watchword.installation import DATABASE
from watchword.supervisor import Running, running
from watchword_testkit.api import Api

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
CREATES = 500
OF_A_REQUEST = 100
AT_ONCE = 8
TRIES = 200
_SEED = """
INSERT INTO directory.users (id, version, claims_version, username, email, email_verified, profile, attributes, active,
                             external_id, scim, created_at, updated_at)
SELECT gen_random_uuid()::text, 1, 1, 'seed-' || n, 'seed-' || n || '@bench.example', true, '{}', '{}', true,
       'ext-' || n, jsonb_build_object('title', 'Title ' || n % 1000, 'emails', jsonb_build_array(
           jsonb_build_object('value', 'Seed-' || n || '@bench.example', 'type', 'work', 'primary', true),
           jsonb_build_object('value', 'home-' || n || '@bench.example', 'type', 'home'))), now(), now()
  FROM generate_series($1::int, $2::int) AS n
"""
_PIECE = 100_000


@dataclass
class Line:
    """A row of the table. ms: how long each call took."""

    name: str
    ms: list[float]
    per_s: float | None = None
    cpu_ms: float | None = None

    def __post_init__(self) -> None:
        sys.stderr.write(f"{self.text()}\n")  # as it comes

    def text(self) -> str:
        """As Markdown."""
        ordered = sorted(self.ms)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        rate = "" if self.per_s is None else f"{self.per_s:,.0f}"
        cpu = "" if self.cpu_ms is None else f"{self.cpu_ms:.1f}"
        return f"| {self.name} | {len(ordered)} | {statistics.median(ordered):,.1f} | {p99:,.1f} | {rate} | {cpu} |"


class Bench:
    """What is measured, with one client at one worker."""

    def __init__(self, http: httpx2.AsyncClient, worker: int, ids: list[str]) -> None:
        """worker: its process.  ids: of people who are there."""
        self._http, self._worker, self._ids = http, worker, ids

    async def call(self, method: str, path: str, body: object = None, **params: str) -> float:
        """How long one call took, in ms. Raises SystemExit when it failed."""
        began = time.perf_counter()
        answer = await self._http.request(method, path, json=body, params=params or None)
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return (time.perf_counter() - began) * 1000

    async def creates(self) -> Line:
        """People made one by one, eight requests at a time."""
        left, taken = iter(range(CREATES)), list[float]()

        async def some() -> None:
            for _ in left:
                taken.append(await self.call("POST", "/Users", _person()))

        return await self._rated(
            f"create, {AT_ONCE} at a time", asyncio.gather(*(some() for _ in range(AT_ONCE))), taken
        )

    async def bulks(self) -> Line:
        """People made by bulk requests, two at a time."""
        taken: list[float] = []

        async def some() -> None:
            for _ in range(CREATES // OF_A_REQUEST):
                operations = [
                    {"method": "POST", "path": "/Users", "bulkId": str(place), "data": _person()}
                    for place in range(OF_A_REQUEST)
                ]
                taken.append(await self.call("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}))

        return await self._rated(f"bulk of {OF_A_REQUEST} creates, 2 at a time", asyncio.gather(some(), some()), taken)

    async def _rated(self, name: str, doing: Awaitable[object], taken: list[float]) -> Line:
        """With how many people came into being a second, and what one cost."""
        began, cpu = time.perf_counter(), _cpu_ms(self._worker)
        await doing
        people = len(taken) * (OF_A_REQUEST if "bulk" in name else 1)
        rate = people / (time.perf_counter() - began)
        return Line(name, taken, rate, (_cpu_ms(self._worker) - cpu) / people)

    async def filter(self, wanted: str, users: int, tries: int = TRIES) -> Line:
        """A filter, about somebody else each time. wanted: with `#` for the person's number."""
        taken: list[float] = []
        for _ in range(tries):
            asked = wanted.replace("#", str(secrets.randbelow(users)))
            taken.append(await self.call("GET", "/Users", filter=asked))
        return Line(f"`{wanted}`", taken)

    async def group(self, members: int) -> list[Line]:
        """A group filled, then one member more, one less, read, emptied."""
        answer = await self._http.post("/Groups", json={"schemas": [GROUP], "displayName": f"bench-{_name()}"})
        path, one = f"/Groups/{answer.json()['id']}", [{"value": self._ids[members]}]
        everybody = [{"value": each} for each in self._ids[:members]]

        async def patch(**operation: object) -> float:
            return await self.call("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})

        filled = await patch(op="add", path="members", value=everybody)
        more, less = [], []
        for _ in range(20):
            more.append(await patch(op="add", path="members", value=one))
            less.append(await patch(op="remove", path=f'members[value eq "{self._ids[members]}"]'))
        read = [await self.call("GET", path) for _ in range(3)]
        emptied = await patch(op="remove", path="members", value=everybody)
        return [
            Line(f"{members:,} members added by one PATCH", [filled]),
            Line(f"one more in a group of {members:,}", more),
            Line("one less", less),
            Line("the group read with all members", read),
            Line(f"{members:,} members removed by one PATCH", [emptied]),
        ]


def _name() -> str:
    return secrets.token_hex(6)


def _person() -> dict[str, object]:
    name = f"bench-{_name()}"
    emails = [{"value": f"{name}@bench.example", "type": "work", "primary": True}]
    person = {"userName": name, "externalId": name, "name": {"givenName": "Ana", "familyName": name}, "emails": emails}
    return {"schemas": [USER], "active": True} | person


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def seed(found: Running, users: int) -> list[str]:
    """The people are there; some of their ids."""
    connection = await asyncpg.connect(found.postgres.url(DATABASE))
    try:
        for first in range(0, users, _PIECE):
            await connection.execute(_SEED, first, min(first + _PIECE, users) - 1)
        await connection.execute("VACUUM ANALYZE directory.users")
        rows = await connection.fetch("SELECT id FROM directory.users WHERE username LIKE 'seed-%' LIMIT 10001")
        return [row["id"] for row in rows]
    finally:
        await connection.close()


async def measure(home: Path, users: int, members: int) -> list[Line]:
    """Every line, of one worker."""
    async with running(options(home / "data", 1), say=lambda _line: None) as found:
        api = Api(found.issuer, found.admin.admin_token)
        made = await api.create("/api-keys", name="bench", scope=["watchword:scim"])
        await api.close()
        key = next(str(value) for value in made.values() if str(value).startswith("ww_") and "." in str(value))
        ids = await seed(found, users)
        async with httpx2.AsyncClient(
            base_url=f"{found.issuer}/scim/v2",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=120,
        ) as http:
            bench = Bench(http, found.workers[0].pid, ids)
            await bench.creates()  # warm
            lines = [await bench.creates(), await bench.bulks()]
            lines += await bench.group(min(members, len(ids) - 1))
            for wanted in ('userName eq "SEED-#"', 'externalId eq "ext-#"', 'emails.value eq "home-#@bench.example"'):
                lines.append(await bench.filter(wanted, users))
            lines.append(await bench.filter('title eq "Title 7"', users, tries=3))
            return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=10_000)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        lines = asyncio.run(measure(Path(directory), given.users, given.members))
    rows = "\n".join(line.text() for line in lines)
    sys.stdout.write(
        f"{given.users:,} people, one worker, {os.cpu_count()} cores; load before {load:.1f}.\n\n"
        f"| | times | p50, ms | p99, ms | people/s | CPU each, ms |\n|---|---:|---:|---:|---:|---:|\n{rows}\n"
    )


if __name__ == "__main__":
    main()
