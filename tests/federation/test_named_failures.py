"""Every named failure, provoked as it happens: its page, its status, its reference, and the steps that stay behind.

A row for each name; the last test fails for a name without words, row or documentation.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from tests.federation.saml_forge import Node, changed, one
from tests.federation.saml_idp import Idp, Pair, connected, post, reconfigured
from tests.federation.test_routes import Person, configured, person

from watchword_federation.failures import WORDS, Failure
from watchword_testkit.api import Api
from watchword_testkit.pages import Page

__all__ = ["person"]

DOCS = Path(__file__).parents[2] / "docs"
NAME = "Marjorie Maxwell-Canary"
EMAIL = "marjorie.canary@acme.test"
DATA = ".//saml:SubjectConfirmationData"
AUDIENCE = ".//saml:AudienceRestriction/saml:Audience"


def later(seconds: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The times of an ID token, moved."""
    return lambda claims: {**claims, "iat": claims["iat"] + seconds, "exp": claims["exp"] + seconds}


def refusal(error: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": f"{NAME} <{EMAIL}>"}, 400)


@dataclass(frozen=True)
class Case:
    """What goes wrong through OpenID Connect. upstream: parts of the provider.  answer: of its authorization endpoint.

    claims: more, or with another value, in its ID token.  status: of the page.  step: what the last one says.
    """

    failure: str
    status: int
    step: str
    upstream: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    switched_off: bool = False


CASES = (
    Case("state_mismatch", 400, "unknown state", answer={"state": "s" * 43}),
    Case("issuer_mismatch", 502, "iss of the authorization response", answer={"iss": "https://evil.test"}),
    Case("issuer_mismatch", 502, "iss of the ID token", claims={"iss": "https://evil.test"}),
    Case("missing_user_info", 502, "no email, name or", upstream={"user": {"sub": "nobody"}}),
    Case("access_denied", 403, "authorization endpoint: access_denied", answer={"error": "access_denied"}),
    Case("access_denied", 403, "required claim hd", settings={"required_claims": {"hd": ["acme.test"]}}),
    Case("invalid_scope", 502, "authorization endpoint: invalid_scope", answer={"error": "invalid_scope"}),
    Case("invalid_scope", 502, "token endpoint: invalid_scope", upstream={"token_answer": refusal("invalid_scope")}),
    Case(
        "redirect_uri_mismatch",
        502,
        "authorization endpoint: redirect_uri_mismatch",
        answer={"error": "redirect_uri_mismatch"},
    ),
    Case(
        "token_exchange_failed",
        502,
        "token endpoint: invalid_client",
        upstream={"token_answer": refusal("invalid_client")},
    ),
    Case(
        "token_exchange_failed",
        502,
        "not JSON",
        upstream={"token_answer": PlainTextResponse(f"<h1>{NAME}</h1>")},
    ),
    Case(
        "invalid_dpop_proof",
        502,
        "token endpoint: invalid_dpop_proof",
        upstream={"token_answer": refusal("invalid_dpop_proof")},
    ),
    Case("invalid_dpop_proof", 502, "is not bound to the proof's key", settings={"dpop": "required"}),
    Case("id_token_missing", 502, "no id_token", upstream={"token_response": {"id_token": ""}}),
    Case("id_token_invalid", 502, "nonce missing or not the one", claims={"nonce": "another"}),
    Case("id_token_invalid", 502, "aud does not name this client", claims={"aud": "another"}),
    Case("clock_skew", 502, "exp has passed", upstream={"alter": later(-3600)}),
    Case("clock_skew", 502, "iat lies ahead", upstream={"alter": later(3600)}),
    Case("userinfo_failed", 502, "answered 500", upstream={"userinfo_answer": PlainTextResponse(NAME, 500)}),
    Case("userinfo_failed", 502, "sub is not the one", upstream={"userinfo": {"sub": "somebody-else"}}),
    Case(
        "groups_overage",
        502,
        "too many",
        settings={"groups_claim": "groups"},
        claims={"_claim_names": {"groups": "src1"}},
    ),
    Case("account_not_found", 502, "no usable claim employee", settings={"claims": {"sub": "employee"}}),
    Case("provider_disabled", 403, "not enabled for sign-in", switched_off=True),
    Case("provider_unreachable", 502, "authorization endpoint: temp", answer={"error": "temporarily_unavailable"}),
    Case("provider_error", 502, "authorization endpoint: server_error", answer={"error": "server_error"}),
)


@dataclass(frozen=True)
class SamlCase:
    """What goes wrong through SAML. change: of the signed assertion.  how: the provider answers."""

    failure: str
    status: int
    step: str
    change: Callable[[Node], object] | None = None
    how: dict[str, Any] = field(default_factory=dict)
    expired: bool = False
    unasked: bool = False


SAML_CASES = (
    SamlCase("signature_validation_failed", 502, "nothing is signed", how={"sign_assertion": False}),
    SamlCase("certificate_expired", 502, "expired", expired=True),
    SamlCase("audience_mismatch", 502, "udience", change=lambda root: setattr(one(root, AUDIENCE), "text", "urn:x")),
    SamlCase(
        "recipient_mismatch", 502, "ecipient", change=lambda root: one(root, DATA).set("Recipient", "https://evil.test")
    ),
    SamlCase("response_invalid", 502, "", change=lambda root: one(root, DATA).set("NotOnOrAfter", "tomorrow")),
    SamlCase(
        "account_not_found",
        502,
        "",
        change=lambda root: setattr(one(root, ".//saml:Subject/saml:NameID"), "text", ""),
    ),
    SamlCase("unsolicited_response", 403, "", unasked=True),
)

# Names whose story is another one, with the file that tells it.
ELSEWHERE = {
    "saml_unavailable": "test_saml_library.py",
    "upstream_exchange_failed": "test_upstream_tokens.py",
}


async def is_told(api: Api, page: Page, failure: str, status: int, provider_id: str, step: str) -> None:
    """The page has its name, plain words and a reference; under that, an administrator finds the steps, redacted."""
    words = WORDS[Failure(failure)]
    assert (page.error_code, page.status) == (failure, status), page.texts
    assert words.title in unescape(page.body)
    assert "dministrator" in page.body or "gain" in page.body, "what can be done, and by whom"
    assert page.headers["cache-control"] == "no-store"
    reference = page.texts["reference"]
    found: Any = await api.get("/upstream/attempts", reference=reference)
    (attempt,) = found["items"]
    assert (attempt["failure"], attempt["provider_id"]) == (failure, provider_id)
    assert attempt["steps"][-1]["step"] == "refused"
    assert step in attempt["steps"][-1]["detail"]
    for text in (page.body, json.dumps(attempt)):
        assert NAME not in text
        assert "canary" not in text.lower()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.failure}: {case.step}" for case in CASES])
@pytest.mark.seed(96, 97, 99)
async def test_through_openid_connect(person: Person, api: Api, upstream: Any, case: Case) -> None:
    upstream.user = {"sub": f"canary-{secrets.token_hex(4)}", "name": NAME, "email": EMAIL, "email_verified": True}
    upstream.alter = lambda claims: {**claims, **case.claims}
    for name, value in case.upstream.items():
        setattr(upstream, name, value)
    provider_id = await configured(api, upstream, **case.settings)
    page = await person.leave(provider_id)
    assert page.status == 303, page.error_code
    params = {**upstream.authorize(page.location), **case.answer}
    if case.switched_off:
        await api.change(f"/providers/{provider_id}", enabled=False)
    page = await person.come_back(provider_id, params)
    await is_told(api, page, case.failure, case.status, provider_id, case.step)


@pytest.mark.parametrize("case", SAML_CASES, ids=[case.failure for case in SAML_CASES])
@pytest.mark.seed(100, 101)
async def test_through_saml(person: Person, api: Api, idp: Idp, expired_keys: Pair, case: SamlCase) -> None:
    idp.attributes = {"email": [EMAIL], "firstName": ["Marjorie"], "lastName": ["Maxwell-Canary"]}
    provider_id = await connected(api, person.platform, idp)
    url = "" if case.unasked else (await person.leave(provider_id)).location
    if case.expired:
        await reconfigured(api, provider_id, certificates=[idp.keys.certificate, expired_keys.certificate])
        idp.keys = expired_keys
        url = (await person.leave(provider_id)).location
    response = idp.respond(url, **case.how)
    if case.change is not None:
        response = changed(response, idp.keys, case.change)
    page = await post(person.platform.issuer, provider_id, response)
    await is_told(api, page, case.failure, case.status, provider_id, case.step)


def test_every_name_has_words_a_row_and_documentation() -> None:
    rows = {case.failure for case in CASES} | {case.failure for case in SAML_CASES}
    told = {name: (Path(__file__).parent / place).read_text() for name, place in ELSEWHERE.items()}
    documents = (DOCS / "providers.md").read_text() + (DOCS / "saml.md").read_text()
    for failure in Failure:
        assert failure in WORDS
        assert failure.value in rows or f'"{failure.value}"' in told.get(failure.value, ""), failure.value
        assert f"`{failure.value}`" in documents, failure.value
