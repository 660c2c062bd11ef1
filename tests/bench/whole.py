"""Figures of the whole: sign-ins, how soon a revocation is obeyed, memory, starting."""

import asyncio
import os
import secrets
import time
from pathlib import Path

import httpx2
from tests.bench.seeding import App, register

from watchword.supervisor import Options, Running, running
from watchword_testkit.browser import Browser
from watchword_testkit.signin import Party, SignIn

_CONNECTIONS = 64  # of 4 workers each one is hit by none of them with a probability of 1 in 10**8
_PASSWORD = secrets.token_urlsafe(16)


def options(data: Path, workers: int) -> Options:
    """An installation without the demo on a free port, where one address may ask as often as it likes."""
    unlimited = {"WATCHWORD_FLOWS_PER_S": "1000000", "WATCHWORD_PUSHES_PER_S": "1000000"}
    return Options(data, 0, workers, demo=False, environment={**os.environ, **unlimited})


async def start_times_s(data: Path) -> tuple[float, float]:
    """How long a first start takes until it answers, and a second one on the same data."""
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        async with running(options(data, 1), say=lambda _line: None):
            taken.append(time.perf_counter() - began)
    return taken[0], taken[1]


async def sign_ins_per_s(found: Running, *, people: int, seconds: float, at_once: int) -> float:
    """Whole sign-ins with a password: authorize, login page, password, code, tokens. Each person signs in anew."""
    headers = {"Watchword-API-Key": found.admin.admin_token}
    async with httpx2.AsyncClient(base_url=found.issuer, headers=headers, timeout=30) as api:
        made = await api.post("/api/v1/clients", json=_client("sign-ins"))
        made.raise_for_status()
        names = [f"bench-{secrets.token_hex(4)}" for _ in range(people)]
        for name in names:
            body = {"username": name, "email": f"{name}@example.test", "password": _PASSWORD}
            (await api.post("/api/v1/users", json=body)).raise_for_status()
    party = Party(found.issuer, made.json()["client_id"], made.json()["client_secret"])
    end, done = time.perf_counter() + seconds, 0

    async def one(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            async with Browser(found.issuer) as browser:
                await SignIn(browser, party).with_password(names[number % people], _PASSWORD)
            done += 1
            number += at_once

    began = time.perf_counter()
    await asyncio.gather(*[one(number) for number in range(at_once)])
    return done / (time.perf_counter() - began)


def _client(name: str) -> dict[str, object]:
    return {
        "client_name": name,
        "redirect_uris": ["https://app.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "openid profile email",
        "require_consent": False,
    }


async def revocation_ms(found: Running, *, count: int) -> list[float]:
    """From the return of a revoking call until the last of many connections, spread over all workers, refuses."""
    headers = {"Watchword-API-Key": found.admin.admin_token}
    async with httpx2.AsyncClient(base_url=found.issuer, headers=headers, timeout=30) as api:
        app = await register(api, access_token_format="jwt")
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    probes = [httpx2.AsyncClient(base_url=found.issuer, timeout=10, limits=limits) for _ in range(_CONNECTIONS)]
    taken = []
    try:
        await asyncio.gather(*[_is_active(probe, app, "warm up") for probe in probes])
        for _ in range(count):
            taken.append(await _one_revocation(probes, app))
    finally:
        await asyncio.gather(*[probe.aclose() for probe in probes])
    return taken


async def _one_revocation(probes: list[httpx2.AsyncClient], app: App) -> float:
    form = {"client_id": app.client_id, "client_secret": app.secret}
    answer = await probes[0].post("/oauth2/token", data={"grant_type": "client_credentials", **form})
    token = answer.raise_for_status().json()["access_token"]
    assert all(await asyncio.gather(*[_is_active(probe, app, token) for probe in probes]))
    (await probes[0].post("/oauth2/revoke", data={"token": token, **form})).raise_for_status()
    returned = last = time.perf_counter()
    open_ = list(probes)
    while open_:
        answers = await asyncio.gather(*[_is_active(probe, app, token) for probe in open_])
        if any(answers):
            last = time.perf_counter()
        open_ = [probe for probe, active in zip(open_, answers, strict=True) if active]
    return (last - returned) * 1000


async def _is_active(probe: httpx2.AsyncClient, app: App, token: str) -> bool:
    form = {"token": token, "client_id": app.client_id, "client_secret": app.secret}
    return bool((await probe.post("/oauth2/introspect", data=form)).raise_for_status().json()["active"])


def resident_mb(pid: int) -> tuple[float, float]:
    """Memory of a process in MB: resident, and proportional (what is shared counted once)."""
    rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {line.split(":")[0]: line.split()[1] for line in rolled.splitlines()[1:]}
    return int(found["Rss"]) / 1024, int(found["Pss"]) / 1024
