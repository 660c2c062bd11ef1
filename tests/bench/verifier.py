"""Prints what a verification costs with 100,000 live revocations: `python tests/bench/verifier.py`.

Processor time on one core, the best of several short runs: a machine with other work to do slows all of them, and the
signature alone shows by how much.
"""

import asyncio
import gc
import logging
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx2
import orjson
import structlog
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword_events.names import position_of
from watchword_events.revocations import RevocationEntry
from watchword_verifier import HttpFeed, Verifier
from watchword_verifier.keys import read_key

ISSUER, AUDIENCE = "http://sso.example", "https://orders.example"
REVOCATIONS, RUNS, TOKENS, ROUNDS = 100_000, 10, 500, 20
SigningKey = ECKey | RSAKey | OKPKey


def issuer(keys: Sequence[SigningKey]) -> Starlette:
    """The feed and the keys, as a resource server finds them."""
    now = datetime.now(UTC)
    entries = [
        RevocationEntry(
            id=n,
            position=position_of(1, n),
            claim=("gid", "jti", "sid", "sub")[n % 4],
            value=str(uuid4()),
            kind="cut",
            until=now + timedelta(hours=1),
            keep_until=now + timedelta(days=1),
            at=now,
        ).model_dump(mode="json")
        for n in range(1, REVOCATIONS + 1)
    ]
    position = position_of(1, REVOCATIONS)
    answers = {
        "/oauth2/jwks": orjson.dumps({"keys": [key.as_dict(private=False) for key in keys]}),
        "/revocations": orjson.dumps({"position": position, "entries": entries}),
        "/revocations/position": orjson.dumps({"position": position, "age_s": 0}),
    }

    async def answer(request: Request) -> Response:
        return Response(answers[request.url.path], media_type="application/json")

    return Starlette(routes=[Route(path, answer) for path in answers])


def token(key: SigningKey) -> str:
    """A person's access token, signed."""
    alg = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[key.key_type]
    now = int(time.time())
    claims = {name: str(uuid4()) for name in ("sub", "client_id", "jti", "gid", "sid")} | {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "scope": "orders:read orders:write",
        "idp": "okta",
        "rev": position_of(1, 5),
        "iat": now,
        "exp": now + 3600,
    }
    parts = [orjson.dumps({"typ": "at+jwt", "alg": alg, "kid": key.kid}), orjson.dumps(claims)]
    message = ".".join(_b64(part) for part in parts)
    return f"{message}.{_b64(JWSRegistry.algorithms[alg].sign(message.encode(), key))}"


async def main() -> None:
    """Prints first verifications and seen tokens per second, and what loading costs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    keys: list[SigningKey] = [
        ECKey.generate_key("P-256", {"kid": "e"}),
        OKPKey.generate_key("Ed25519", {"kid": "o"}),
        RSAKey.generate_key(2048, {"kid": "r"}),
    ]

    async def bearer() -> str:
        return "a token"

    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(issuer(keys)))
    # The loop below leaves the follower no time to ask for the newest position; that is not what is measured here.
    bound = timedelta(hours=1)
    verifier = Verifier(ISSUER, AUDIENCE, feed=HttpFeed(ISSUER, bearer, http=http), staleness_bound=bound)
    started = time.process_time()
    assert await verifier.start(wait=timedelta(seconds=60))
    lines = [("start with a snapshot of 100,000", f"{time.process_time() - started:.1f} s")]
    gc.collect()
    gc.freeze()
    for key, name in zip(keys, ("ES256", "EdDSA", "RS256"), strict=True):
        batches = [[token(key) for _ in range(TOKENS)] for _ in range(RUNS)]
        first = max([await _per_second(verifier, tokens, 1) for tokens in batches])
        alone = max([_signatures_per_second(tokens, key) for tokens in batches])
        seen = max([await _per_second(verifier, tokens, ROUNDS) for tokens in batches])
        lines.append((f"first verification, {name}", f"{first:,.0f}/s"))
        lines.append(("  the signature alone", f"{alone:,.0f}/s"))
        lines.append(("  token already seen", f"{seen:,.0f}/s"))
    await verifier.aclose()
    await http.aclose()
    sys.stdout.write("".join(f"{name:36}{figure:>12}\n" for name, figure in lines))


async def _per_second(verifier: Verifier, tokens: list[str], rounds: int) -> float:
    started = time.process_time()
    for _ in range(rounds):
        for each in tokens:
            await verifier.verify(each)
    return rounds * len(tokens) / (time.process_time() - started)


def _signatures_per_second(tokens: list[str], key: SigningKey) -> float:
    """What the cryptography alone allows on this machine at this moment."""
    verifies = _verification(key)
    parts = [each.rpartition(".") for each in tokens]
    pairs = [(message.encode(), urlsafe_b64decode(signature + "==")) for message, _, signature in parts]
    started = time.process_time()
    for message, signature in pairs:
        verifies(message, signature)
    return len(tokens) / (time.process_time() - started)


def _verification(key: SigningKey) -> Callable[[bytes, bytes], bool]:
    found = read_key(key.as_dict(private=False))
    assert found is not None
    return found.verifies


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    asyncio.run(main())
