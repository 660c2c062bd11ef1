"""What a sign-in through a provider costs Watchword, and whether its memory stays as it is: for `oidc` and `saml`.

Whole sign-ins, from the first redirect to the token response, at a running installation. Only the CPU of Watchword's
own workers is counted, so that provider and browser, which run here, play no part.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.cases import cpu_s
from tests.bench.whole import options, resident_mb

from watchword.supervisor import Options, Running
from watchword_testkit.browser import Browser

WARM_UP = 10
IDLE_S = 5.0
_PIECES = 10  # of the sign-ins, after each of which memory is read

SignInOnce = Callable[[], Awaitable[None]]


class At:
    """A running installation, as the tests' helpers want it."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def browser(self) -> Browser:
        return Browser(self.issuer)


def chosen(description: str) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sign-ins", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="print the workers' memory after each tenth of them")
    return parser.parse_args()


def installation(data: Path) -> Options:
    """One worker, which may call a provider on this machine and is asked by one address as often as it likes."""
    made = options(data, 1)
    often = dict.fromkeys(("WATCHWORD_FEDERATION_ADDRESS_RATE", "WATCHWORD_FEDERATION_ADDRESS_BURST"), "1000000")
    made.environment.update(often | {"WATCHWORD_OUTBOUND_ALLOW": "127.0.0.0/8"})
    return made


async def sign_ins(found: Running, name: str, sign_in: SignInOnce, asked: argparse.Namespace) -> None:
    """The figures are printed. An idle worker's CPU is measured first and taken off."""
    for _ in range(WARM_UP):
        await sign_in()
    idle = await _idle(found)
    before, began = _spent_s(found), time.perf_counter()
    _say(f"{name}: memory {_memory(found)} before\n" if asked.memory else "")
    for piece in range(_PIECES):
        count = asked.sign_ins // _PIECES
        turns = asyncio.Semaphore(asked.at_once)

        async def one(turns: asyncio.Semaphore = turns) -> None:
            async with turns:
                await sign_in()

        await asyncio.gather(*[one() for _ in range(count)])
        _say(f"{name}: memory {_memory(found)} after {(piece + 1) * count}\n" if asked.memory else "")
    wall, done = time.perf_counter() - began, asked.sign_ins // _PIECES * _PIECES
    each_ms = (_spent_s(found) - before - idle * wall) / done * 1000
    _say(f"{name} sign-in: {each_ms:.1f} ms of Watchword's CPU each, without the {idle:.1%} of an idle worker\n")


async def _idle(found: Running) -> float:
    """The share of a core that workers use without being asked for anything."""
    before = _spent_s(found)
    await asyncio.sleep(IDLE_S)
    return (_spent_s(found) - before) / IDLE_S


def _spent_s(found: Running) -> float:
    return sum(cpu_s(worker.pid) for worker in found.workers)


def _memory(found: Running) -> str:
    return ", ".join(f"{resident_mb(worker.pid)[0]:.1f} MB" for worker in found.workers)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
