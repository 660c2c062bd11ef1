"""Measures how soon a revocation is obeyed: `make bench-revocation`, or `python -m tests.bench.revocation`.

Four service instances and eight verifier processes (five on HTTP, three on NATS) on durable servers, with sign-ins and
tokens at a steady pace beside. Every verifier is shown every token, the instances (by introspection) each n-th. Prints
one table, and ends with 1 when something that must be 0 is not.
"""

import argparse
import asyncio
import os
import sys
import time
from typing import Final

from tests.bench.background import Background
from tests.bench.report import PROMISE_MS, Report
from tests.bench.ring import CALLS_AT_ONCE, Measured, Ring, gathered
from tests.bench.rotations import KeyClient, Rotations

from watchword_database.ids import new_id

BATCH: Final = 25
FEW_AT_ONCE: Final = 5  # beside an import calls are slow, and verifiers watch a batch for 15 s from its beginning
PER_VALUE: Final = ("gid", "sid", "sub", "client_id", "idp")


class Bench:
    """What is measured, one method each."""

    def __init__(self, ring: Ring, chosen: argparse.Namespace, report: Report) -> None:
        self._ring, self._chosen, self._report = ring, chosen, report

    async def tokens(self, count: int) -> Measured:
        """Single tokens, given back by their client (RFC 7009)."""
        found = Measured()
        for first in range(0, count, BATCH):
            rev = await self._ring.position()
            tokens = [self._ring.mint.token(rev) for _ in range(min(BATCH, count - first))]

            async def revoke(index: int, tokens: list[str] = tokens) -> bool:
                await self._ring.at_token("revoke", token=tokens[index])
                return True

            found.add(await self._ring.measure(tokens, revoke, doors_every=self._chosen.doors_every))
        return found

    async def values(self, claim: str, count: int, *, wait: bool = False) -> Measured:
        """Revocations by an administrator, each of one value. wait: the call returns when nobody accepts any more."""
        found = Measured()
        for first in range(0, count, BATCH):
            rev = await self._ring.position()
            values = [new_id() for _ in range(min(BATCH, count - first))]
            tokens = [self._ring.mint.token(rev, **{claim: value}) for value in values]
            params = {"wait": "all", "timeout_s": "10"} if wait else {}

            async def revoke(index: int, values: list[str] = values, params: dict[str, str] = params) -> bool:
                body = {"claim": claim, "value": values[index]}
                answer = await self._ring.api.call("POST", "/revocations", body, **params)
                answer.raise_for_status()
                return answer.status_code == 201

            found.add(await self._ring.measure(tokens, revoke, doors_every=self._chosen.doors_every))
        return found

    async def everything(self, count: int) -> Measured:
        """`all`: each ends every token there is; last of all, because it ends the administrator's API key too."""
        found = Measured()
        for _ in range(count):
            tokens = [self._ring.mint.token(await self._ring.position())]
            key = await self._administrator()

            async def revoke(_index: int, key: str = key) -> bool:
                url = f"{self._ring.platform.issuer}/api/v1/revocations"
                headers = {"Authorization": f"Bearer {key}"}
                (await self._ring.calls.post(url, json={"claim": "all"}, headers=headers)).raise_for_status()
                return True

            found.add(await self._ring.measure(tokens, revoke, doors_every=1))
        return found

    async def _administrator(self) -> str:
        """A token of a machine that may do everything."""
        form = {"grant_type": "client_credentials", "scope": "watchword:admin"}
        form |= {"client_id": self._machine[0], "client_secret": self._machine[1]}
        answer = await self._ring.calls.post(f"{self._ring.platform.issuer}/oauth2/token", data=form)
        return str(answer.raise_for_status().json()["access_token"])

    async def make_administrator(self) -> None:
        """The machine that revokes everything."""
        made = await self._ring.api.create(
            "/clients",
            client_name="administrator",
            grant_types=["client_credentials"],
            token_endpoint_auth_method="client_secret_post",
            redirect_uris=[],
            response_types=[],
            scope="watchword:admin",
        )
        self._machine = str(made["client_id"]), str(made["client_secret"])

    async def keys(self, count: int) -> tuple[Measured, list[float]]:
        """Signing keys, in an emergency; and how long after each its unannounced successor was known everywhere, ms."""
        found, known_ms = Measured(), []
        await self._ring.mint.keys.reload()
        for _ in range(count):
            tokens, kid = [self._ring.mint.token(await self._ring.position())], self._ring.mint.kid

            async def revoke(_index: int, kid: str = kid) -> bool:
                (await self._ring.api.call("POST", "/revocations", {"claim": "kid", "value": kid})).raise_for_status()
                return True

            found.add(await self._ring.measure(tokens, revoke, doors_every=1))
            began = time.monotonic()
            while self._ring.mint.kid == kid:
                await self._ring.mint.keys.reload()
            token = self._ring.mint.token(await self._ring.position())
            for each in self._ring.servers:
                while await each.refusals([token]) != [None]:
                    await asyncio.sleep(0.01)
            known_ms.append((time.monotonic() - began) * 1000)
        return found, known_ms


class Sleepers:
    """A verifier on HTTP and one on NATS that stand still while others revoke."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._since = 0.0

    async def fall_asleep(self) -> None:
        """Two more verifiers have loaded everything, and are suspended."""
        for kind in ("HTTP", "NATS"):
            self._ring.sleepers.append(await self._ring.server(f"a verifier on {kind}", over_nats=kind == "NATS"))
        self._since = time.monotonic()
        for each in self._ring.sleepers:
            each.suspend()

    async def caught_up_s(self, stopped_s: float) -> list[tuple[str, float]]:
        """How long after waking each was fresh and knew everything; they have ended then. stopped_s: at least."""
        await asyncio.sleep(max(0.0, self._since + stopped_s - time.monotonic()))
        head, taken = await self._ring.position(), []
        for each in self._ring.sleepers:
            woken = time.monotonic()
            each.wake()
            while not ((state := await each.ask("state"))["fresh"] and state["position"] >= head):
                await asyncio.sleep(0.002)
            taken.append((each.name, time.monotonic() - woken))
            await each.stop()
        return taken


async def measure(chosen: argparse.Namespace) -> Report:
    """Everything, in an order in which nothing disturbs what comes after."""
    report = Report()
    over_nats = chosen.verifiers * 3 // 8
    max_age = {"token_jwks_max_age_s": str(chosen.jwks_max_age)}
    async with gathered(
        workers=chosen.instances,
        over_http=chosen.verifiers - over_nats,
        over_nats=over_nats,
        entries=chosen.entries,
        **max_age,
    ) as ring:
        ring.pace_s = 1 / chosen.pace if chosen.pace else 0.0
        bench = Bench(ring, chosen, report)
        report.fact(f"start of a verifier process, snapshot of {chosen.entries:,}", f"{ring.first_start_s:.1f} s")
        await bench.make_administrator()
        load = await Background.started(
            issuer=ring.platform.issuer,
            key=ring.platform.admin.admin_token,
            sign_ins=chosen.sign_ins,
            tokens=chosen.token_rate,
        )
        await bench.tokens(2 * BATCH)  # caches are warm
        sleepers = Sleepers(ring)
        await sleepers.fall_asleep()
        before = await ring.position()
        found = await bench.tokens(chosen.revocations)
        report.add("`jti`, one token", found)
        missed = await ring.position() - before
        for name, taken_s in await sleepers.caught_up_s(chosen.stopped_s):
            about = f"{name} that stood still for {chosen.stopped_s:g} s or more catches up with {missed:,} revocations"
            report.fact(about, f"{taken_s * 1000:.0f} ms")
        p50, _, _ = Measured(found.call_ms).p50_p99_max
        report.fact(f"the revoking call itself, {CALLS_AT_ONCE} at once, p50", f"{p50:.0f} ms")
        for claim in PER_VALUE:
            report.add(f"`{claim}`", await bench.values(claim, chosen.each))
        waited = await bench.values("sub", chosen.each, wait=True)
        report.add("`sub` with `wait=all`", waited)
        report.must("accepted after a `wait=all` that answered complete", waited.after_return)
        p50, _, most = Measured(waited.call_ms).p50_p99_max
        report.fact("`wait=all`: the call, p50 and max", f"{p50:.0f} ms, {most:.0f} ms")
        report.fact("`wait=all` that answered 202", str(waited.incomplete))
        await during_rotations(bench, ring, chosen, report)
        await during_an_import(bench, ring, chosen, report)
        found, known_ms = await bench.keys(chosen.few)
        report.add("`kid`, a signing key", found)
        p50, _, most = Measured(known_ms).p50_p99_max
        report.fact("until all know the successor of a revoked key, p50 and max", f"{p50:.0f} ms, {most:.0f} ms")
        report.add("`all`", await bench.everything(chosen.few))
        done = await load.stop()
        for name, count in sorted(done.items()):
            report.fact(f"meanwhile: {name}", f"{count:,}")
    report.must(f"revocations of these that took longer than {PROMISE_MS:g} ms, beyond 1 in 100", report.over_promise)
    return report


async def during_an_import(bench: Bench, ring: Ring, chosen: argparse.Namespace, report: Report) -> None:
    """Tokens are revoked while a SCIM client imports people, until it is done or has had its time."""
    if chosen.scim_users == 0:
        return
    began = time.monotonic()
    importing = await Background.started(
        issuer=ring.platform.issuer, key=ring.platform.admin.admin_token, scim_users=chosen.scim_users
    )
    found = await bench.tokens(FEW_AT_ONCE)
    while not importing.is_over and time.monotonic() - began < chosen.import_s:
        found.add(await bench.tokens(FEW_AT_ONCE))
    took_s = time.monotonic() - began
    done = await importing.stop()
    report.add(f"`jti` during a SCIM import of {chosen.scim_users:,} users", found, besides=True)
    made = done.get("users", 0)
    report.fact("users imported meanwhile", f"{made:,} in {took_s:.0f} s, {made / took_s:.0f} a second")
    report.must("users that the import was refused", done.get("users refused", 0))


async def during_rotations(bench: Bench, ring: Ring, chosen: argparse.Namespace, report: Report) -> None:
    """Keys rotate one after another while tokens are revoked; good tokens are shown to everybody all the time."""
    if chosen.rotations == 0:
        return
    client = KeyClient(ring, max_age_s=chosen.jwks_max_age)
    rotations = Rotations(ring, client)
    rotating = asyncio.create_task(rotations.run(chosen.rotations))
    found = await bench.values("sub", BATCH)
    while not rotating.done():
        await ring.mint.keys.reload()
        found.add(await bench.values("gid", BATCH))
    done = await rotating
    report.add("`gid`, `sub` while keys rotate", found, besides=True)
    report.fact("key rotations", f"{done.rotations}, {done.rotations / done.took_s:.2f} a second")
    report.fact("good tokens verified meanwhile", f"{done.verified:,}")
    report.must("good tokens that failed during key rotations, by a verifier", done.failed)
    report.must("… by a party that reads the JWKS at its max-age only", done.failed_at_party)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--revocations", type=int, default=8_800, help="single tokens; with the other kinds more than 10,000"
    )
    parser.add_argument("--pace", type=float, default=10.0, help="revocations begun a second; 0 for as many as it can")
    parser.add_argument("--each", type=int, default=200, help="revocations of each other kind")
    parser.add_argument("--few", type=int, default=5, help="signing keys, and times that everything is revoked")
    parser.add_argument("--rotations", type=int, default=20, help="of the signing keys")
    parser.add_argument("--jwks-max-age", type=int, default=1, help="seconds")
    parser.add_argument("--scim-users", type=int, default=100_000, help="of the SCIM import")
    parser.add_argument("--import-s", type=float, default=1800.0, help="after which the import is stopped")
    parser.add_argument("--stopped-s", type=float, default=60.0, help="how long a verifier stands still")
    parser.add_argument("--entries", type=int, default=100_000, help="live revocations of strangers")
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--verifiers", type=int, default=8)
    parser.add_argument("--doors-every", type=int, default=20, help="show each n-th token to the instances as well")
    parser.add_argument("--sign-ins", type=float, default=1.0, help="a second, as load")
    parser.add_argument("--token-rate", type=float, default=20.0, help="tokens a second, as load")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    began = time.monotonic()
    report = asyncio.run(measure(chosen))
    print(
        f"{chosen.instances} instances, {chosen.verifiers} verifier processes, {os.cpu_count()} cores;"
        f" {f'{chosen.pace:g} revocations a second' if chosen.pace else 'as many revocations as it can'}; load before"
        f" {load:.1f}; {time.monotonic() - began:.0f} s.\n\n{report.text()}"
    )
    sys.exit(any(report.musts.values()))


if __name__ == "__main__":
    main()
