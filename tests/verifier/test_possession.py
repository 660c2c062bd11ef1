"""Tokens that are bound to a key or a certificate: who presents one has to show that it is its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, Final

import httpx2
import pytest
from fastapi import Depends, FastAPI
from tests.verifier.conftest import AUDIENCE, Issuer

from watchword_testkit.holder import Holder, b64
from watchword_verifier import Claims, Proofs, Reason, Shown, TokenRefused, Verifier, WhenStale
from watchword_verifier.asgi import CLAIMS, RequireToken
from watchword_verifier.dpop import ALGORITHMS
from watchword_verifier.fastapi import require
from watchword_verifier.possession import certificate_thumbprint

BASE: Final = "https://orders.example"
URL: Final = f"{BASE}/orders"
HOLDER: Final = Holder()
ALGS: Final = " ".join(ALGORITHMS)
CERTIFICATE: Final = b"a certificate in DER"
JKT: Final = {"jkt": HOLDER.thumbprint}
X5T: Final = {"x5t#S256": certificate_thumbprint(CERTIFICATE)}


@asynccontextmanager
async def verifying(issuer: Issuer, **options: Any) -> AsyncIterator[Verifier]:
    given = {"proofs": Proofs(BASE), "when_stale": WhenStale.REFUSE, **options}
    async with Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), **given) as started:
        yield started


def shown(token: str, *, holder: Holder = HOLDER, **changes: Any) -> Shown:
    return Shown(holder.proof("GET", URL, token=token, **changes), "GET", "/orders")


async def refusal(verifier: Verifier, token: str, given: Shown) -> Reason | None:
    try:
        await verifier.verify(token, given)
    except TokenRefused as error:
        return error.reason
    return None


@pytest.mark.spec("RFC 9449 7; RFC 9449 7.1")
async def test_a_bound_token_is_taken_with_its_holders_proof(issuer: Issuer) -> None:
    async with verifying(issuer) as verifier:
        token = issuer.token(cnf=JKT)
        for _ in range(2):
            assert (await verifier.verify(token, shown(token))).subject == "ann"


def at(path: str, method: str = "GET") -> Callable[[str], Shown]:
    return lambda token: Shown(HOLDER.proof("GET", URL, token=token), method, path)


@pytest.mark.spec("RFC 9449 7.1; RFC 9449 7.2")
@pytest.mark.parametrize(
    ("cnf", "given", "reason"),
    [
        pytest.param(JKT, lambda _: Shown(), Reason.NOT_THE_HOLDER, id="as a bearer"),
        pytest.param(JKT, lambda _: Shown(certificate=CERTIFICATE), Reason.NOT_THE_HOLDER, id="with a certificate"),
        pytest.param(JKT, lambda t: shown(t, holder=Holder()), Reason.NOT_THE_HOLDER, id="another key's proof"),
        pytest.param(JKT, lambda _: shown("another token"), Reason.BAD_PROOF, id="another token's proof"),
        pytest.param(JKT, lambda _: Shown(HOLDER.proof("GET", URL), "GET", "/orders"), Reason.BAD_PROOF, id="no ath"),
        pytest.param(JKT, at("/orders/1"), Reason.BAD_PROOF, id="another path"),
        pytest.param(JKT, at("/orders", "POST"), Reason.BAD_PROOF, id="another method"),
        pytest.param(JKT, lambda t: shown(t, now=1.0), Reason.BAD_PROOF, id="an old proof"),
        pytest.param(JKT, lambda _: Shown("x", "GET", "/orders"), Reason.BAD_PROOF, id="no proof at all"),
        pytest.param(None, shown, Reason.NOT_THE_HOLDER, id="a proof for a token that is bound to nothing"),
        pytest.param(X5T, shown, Reason.NOT_THE_HOLDER, id="a proof for a token that is bound to a certificate"),
        pytest.param(X5T, lambda _: Shown(), Reason.NOT_THE_HOLDER, id="no certificate"),
        pytest.param(X5T, lambda _: Shown(certificate=b"other"), Reason.NOT_THE_HOLDER, id="another certificate"),
        pytest.param({}, lambda _: Shown(), Reason.MALFORMED, id="cnf without a member"),
        pytest.param("jkt", lambda _: Shown(), Reason.MALFORMED, id="cnf is text"),
        pytest.param({"jkt": 1}, lambda _: Shown(), Reason.MALFORMED, id="jkt is a number"),
        pytest.param({"jkt": "ä"}, shown, Reason.NOT_THE_HOLDER, id="jkt is not ASCII"),
        pytest.param({"jwk": {}}, lambda _: Shown(), Reason.MALFORMED, id="a key itself"),
        pytest.param({"kid": "x"}, lambda _: Shown(), Reason.NOT_THE_HOLDER, id="bound in another way"),
    ],
)
@pytest.mark.spec("RFC 7800 3.1; RFC 8705 3")
async def test_who_does_not_show_that_it_holds_the_key_is_refused(
    issuer: Issuer, cnf: object, given: Callable[[str], Shown], reason: Reason
) -> None:
    async with verifying(issuer) as verifier:
        token = issuer.token(cnf=cnf)
        for _ in range(2):  # the second time the token is known
            assert await refusal(verifier, token, given(token)) is reason


async def test_a_proof_is_used_once(issuer: Issuer) -> None:
    async with verifying(issuer) as verifier:
        token = issuer.token(cnf=JKT)
        proof = shown(token)
        assert await refusal(verifier, token, proof) is None
        assert await refusal(verifier, token, proof) is Reason.BAD_PROOF


async def test_where_nobody_said_how_to_check_proofs_bound_tokens_are_refused(issuer: Issuer) -> None:
    async with verifying(issuer, proofs=None) as verifier:
        token = issuer.token(cnf=JKT)
        assert await refusal(verifier, token, shown(token)) is Reason.NOT_THE_HOLDER


async def test_used_proofs_may_be_noted_elsewhere(issuer: Issuer) -> None:
    used: list[str] = []

    async def spend(once: str, until_s: float) -> bool:
        used.append(once)
        return len(used) == 1

    async with verifying(issuer, proofs=Proofs(BASE, spend=spend)) as verifier:
        token = issuer.token(cnf=JKT)
        assert await refusal(verifier, token, shown(token, jti="1")) is None
        assert await refusal(verifier, token, shown(token, jti="2")) is Reason.BAD_PROOF
    assert used == [f"{HOLDER.thumbprint}:1", f"{HOLDER.thumbprint}:2"]


@pytest.mark.spec("RFC 8705 3.1")
async def test_a_token_that_is_bound_to_a_certificate_needs_it(issuer: Issuer) -> None:
    async with verifying(issuer, proofs=None) as verifier:
        token = issuer.token(cnf=X5T)
        assert await refusal(verifier, token, Shown(certificate=CERTIFICATE)) is None


async def test_an_opaque_token_is_bound_as_the_issuer_says(issuer: Issuer) -> None:
    token = ".".join([b64(b'{"kid":"e1"}'), "", "a", "b", "c"])
    issuer.opaque[token] = issuer.claims(cnf=JKT)
    async with verifying(issuer) as verifier:
        assert await refusal(verifier, token, Shown()) is Reason.NOT_THE_HOLDER
        assert await refusal(verifier, token, shown(token)) is None
        assert await refusal(verifier, token, Shown()) is Reason.NOT_THE_HOLDER


def test_the_base_url_is_told() -> None:
    for wrong in ("", "orders.example", ()):
        with pytest.raises(ValueError, match="absolute URL"):
            Proofs(wrong)


# At the edges --------------------------------------------------------------------------------------------------------


async def says_who_calls(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope[CLAIMS].subject.encode()})


def in_asgi(verifier: Verifier, **needs: Any) -> Any:
    return RequireToken(says_who_calls, verifier, **needs)


def in_fastapi(verifier: Verifier, **needs: Any) -> Any:
    app = FastAPI()

    @app.get("/orders")
    async def list_orders(claims: Annotated[Claims, Depends(require(verifier=verifier, **needs))]) -> str:
        return claims.subject

    return app


EDGES = pytest.mark.parametrize("edge", [in_asgi, in_fastapi], ids=["asgi", "fastapi"])


async def get(app: Any, *headers: tuple[str, str]) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://inside") as http:
        return await http.get("/orders?page=1", headers=list(headers))


@EDGES
@pytest.mark.spec("RFC 9449 7.1")
async def test_the_scheme_dpop_gets_in_whatever_the_host_is_called_inside(issuer: Issuer, edge: Any) -> None:
    async with verifying(issuer) as verifier:
        token = issuer.token(cnf=JKT)
        for scheme in ("DPoP", "dpop"):
            proof = HOLDER.proof("GET", URL, token=token)
            answer = await get(edge(verifier), ("Authorization", f"{scheme} {token}"), ("DPoP", proof))
            assert (answer.status_code, answer.text.strip('"')) == (200, "ann")
        passed_on = HOLDER.proof("GET", "https://evil.example/orders", token=token)
        answer = await get(
            edge(verifier), ("Authorization", f"DPoP {token}"), ("DPoP", passed_on), ("Host", "evil.example")
        )
        assert answer.headers["www-authenticate"] == f'DPoP error="invalid_dpop_proof", algs="{ALGS}"'


@EDGES
@pytest.mark.spec("RFC 9449 7.1; RFC 9449 7.2; RFC 9449 4.3")
async def test_refusals_say_which_proofs_would_do(issuer: Issuer, edge: Any) -> None:
    async with verifying(issuer) as verifier:
        app, token = edge(verifier), issuer.token(cnf=JKT)
        proofs = [("DPoP", HOLDER.proof("GET", URL, token=token)) for _ in range(3)]
        rows = [
            (await get(app), f'Bearer, DPoP algs="{ALGS}"'),
            (
                await get(app, ("Authorization", f"Bearer {token}"), proofs[0]),
                f'Bearer error="invalid_token", DPoP algs="{ALGS}"',
            ),
            (await get(app, ("Authorization", f"DPoP {token}")), f'DPoP error="invalid_dpop_proof", algs="{ALGS}"'),
            (
                await get(app, ("Authorization", f"DPoP {token}"), *proofs[1:]),
                f'DPoP error="invalid_dpop_proof", algs="{ALGS}"',
            ),
            (
                await get(app, ("Authorization", "DPoP a.b.c"), proofs[0]),
                f'DPoP error="invalid_token", algs="{ALGS}"',
            ),
        ]
        for answer, challenge in rows:
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    async with verifying(issuer, proofs=None) as verifier:
        answer = await get(edge(verifier), ("Authorization", f"DPoP {token}"), proofs[0])
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@EDGES
@pytest.mark.spec("RFC 9449 9")
async def test_who_lacks_a_nonce_is_given_one(issuer: Issuer, edge: Any) -> None:
    async with verifying(issuer, proofs=Proofs(BASE, nonce_key=b"k" * 32)) as verifier:
        app, token = edge(verifier), issuer.token(cnf=JKT)
        scheme = ("Authorization", f"DPoP {token}")
        answer = await get(app, scheme, ("DPoP", HOLDER.proof("GET", URL, token=token)))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == f'DPoP error="use_dpop_nonce", algs="{ALGS}"'
        proof = HOLDER.proof("GET", URL, token=token, nonce=answer.headers["dpop-nonce"])
        assert (await get(app, scheme, ("DPoP", proof))).status_code == 200


@EDGES
async def test_a_certificate_comes_from_where_the_application_says(issuer: Issuer, edge: Any) -> None:
    async with verifying(issuer) as verifier:
        token = issuer.token(cnf=X5T)
        scheme = ("Authorization", f"Bearer {token}")
        assert (await get(edge(verifier, certificate_of=lambda _: CERTIFICATE), scheme)).status_code == 200
        assert (await get(edge(verifier, certificate_of=lambda _: None), scheme)).status_code == 401
        assert (await get(edge(verifier), scheme)).status_code == 401


@EDGES
@pytest.mark.spec("RFC 9470 3; RFC 9470 4")
@pytest.mark.parametrize(
    ("needs", "claims", "challenge"),
    [
        pytest.param({"acr": "gold silver"}, {"acr": "silver"}, None, id="one of the contexts"),
        pytest.param({"acr": "gold"}, {"acr": "silver"}, 'acr_values="gold"', id="another context"),
        pytest.param({"acr": "gold"}, {}, 'acr_values="gold"', id="no context"),
        pytest.param({"acr": "gold"}, {"acr": ["gold"]}, 'acr_values="gold"', id="contexts in a list"),
        pytest.param({"max_age": timedelta(minutes=5)}, {"auth_time": -60}, None, id="signed in lately"),
        pytest.param({"max_age": timedelta(minutes=5)}, {"auth_time": -600}, 'max_age="300"', id="signed in long ago"),
        pytest.param({"max_age": timedelta(minutes=5)}, {}, 'max_age="300"', id="does not say when"),
        pytest.param(
            {"acr": "gold", "max_age": timedelta(0)}, {}, 'acr_values="gold", max_age="0"', id="neither well nor lately"
        ),
    ],
)
async def test_who_did_not_sign_in_well_or_lately_enough_is_told_what_is_needed(
    issuer: Issuer, edge: Any, needs: dict[str, Any], claims: dict[str, Any], challenge: str | None
) -> None:
    async with verifying(issuer, proofs=None) as verifier:
        if "auth_time" in claims:
            claims = {"auth_time": int(verifier.now()) + claims["auth_time"]}
        answer = await get(edge(verifier, **needs), ("Authorization", f"Bearer {issuer.token(**claims)}"))
        if challenge is None:
            assert answer.status_code == 200
            return
        assert answer.status_code == 401
        expected = f'Bearer error="insufficient_user_authentication", {challenge}'
        assert answer.headers["www-authenticate"] == expected
