"""What a sign-in needs next, as a decision table."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz.flow import Standing, Step, error_of, needs_consent, next_step
from watchword_authz.requests import ANYWHERE, AuthorizationRequest, OAuthCode, Permission, Prompt
from watchword_events.exports import ClientExport
from watchword_policy.assurance import ONE_FACTOR, TWO_FACTORS

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STARTED = NOW - timedelta(seconds=30)
WEB = "https://app.example/cb"
A, B = "https://a.example", "https://b.example"


def request(redirect_uri: str = WEB, **changes: object) -> AuthorizationRequest:
    """A request for openid and profile."""
    given: dict[str, object] = {
        "client_id": "c",
        "redirect_uri": redirect_uri,
        "scope": frozenset({"openid", "profile"}),
    }
    return AuthorizationRequest.model_validate({**given, **changes})


def client(**changes: object) -> ClientExport:
    """A confidential client that asks for consent."""
    return ClientExport.model_validate({"client_id": "c", "client_name": "App", **changes})


def signed_in(ago_s: int = 600, **changes: Any) -> Standing:
    """A session whose sign-in, with a password, was so long ago."""
    given: dict[str, Any] = {"user_id": "u1", "is_fresh": False, "is_chosen": False, "amr": ("pwd",), **changes}
    return Standing(auth_time=NOW - timedelta(seconds=ago_s), **given)


def allowed(*scopes: str, at: str = ANYWHERE) -> frozenset[Permission]:
    """A consent to these scopes."""
    return frozenset((at, scope) for scope in scopes)


@dataclass
class Case:
    """One row of the table."""

    step: Step
    standing: Standing | None = None
    asked: AuthorizationRequest = field(default_factory=request)
    client: ClientExport = field(default_factory=client)
    consented: frozenset[Permission] = allowed("openid", "profile")
    wants_again: bool = False


CASES = {
    "nobody is signed in": Case(Step.SIGN_IN),
    "signed in and consented": Case(Step.FINISH, signed_in()),
    "wants to sign in again": Case(Step.SIGN_IN, signed_in(), wants_again=True),
    "wanted it and did": Case(Step.FINISH, signed_in(5, is_fresh=True), wants_again=True),
    "prompt login": Case(Step.SIGN_IN, signed_in(), request(prompt=["login"])),
    "prompt login, signed in a second before it": Case(Step.SIGN_IN, signed_in(31), request(prompt=["login"])),
    "prompt login, done": Case(Step.FINISH, signed_in(5, is_fresh=True), request(prompt=["login"])),
    "prompt login, upstream did not ask again": Case(
        Step.SIGN_IN, signed_in(3600, is_fresh=True), request(prompt=["login"])
    ),
    "max_age kept": Case(Step.FINISH, signed_in(59), request(max_age_s=60)),
    "max_age passed": Case(Step.SIGN_IN, signed_in(60), request(max_age_s=60)),
    "max_age zero": Case(Step.SIGN_IN, signed_in(0), request(max_age_s=0)),
    "max_age zero, done": Case(Step.FINISH, signed_in(3, is_fresh=True), request(max_age_s=0)),
    "max_age, upstream's sign-in is older": Case(Step.SIGN_IN, signed_in(3600, is_fresh=True), request(max_age_s=600)),
    "max_age, upstream's sign-in is recent enough": Case(
        Step.FINISH, signed_in(300, is_fresh=True), request(max_age_s=600)
    ),
    "select_account": Case(Step.CHOOSE_ACCOUNT, signed_in(), request(prompt=["select_account"])),
    "select_account, chosen": Case(Step.FINISH, signed_in(is_chosen=True), request(prompt=["select_account"])),
    "select_account, signed in": Case(Step.FINISH, signed_in(5, is_fresh=True), request(prompt=["select_account"])),
    "select_account and login": Case(
        Step.SIGN_IN, signed_in(is_chosen=True), request(prompt=["select_account", "login"])
    ),
    "hint names the one at hand": Case(Step.FINISH, signed_in(), request(hint_user_id="u1")),
    "hint names another": Case(Step.SIGN_IN, signed_in(), request(hint_user_id="u2")),
    "hint names another than who then signed in": Case(
        Step.WRONG_ACCOUNT, signed_in(5, is_fresh=True), request(hint_user_id="u2")
    ),
    "scope grew": Case(Step.CONSENT, signed_in(), consented=allowed("openid")),
    "never asked": Case(Step.CONSENT, signed_in(), consented=frozenset()),
    "allowed more": Case(Step.FINISH, signed_in(), consented=allowed("openid", "profile", "email")),
    "allowed there": Case(
        Step.FINISH, signed_in(), request(resource=[A]), consented=allowed("openid", "profile", at=A)
    ),
    "allowed elsewhere": Case(
        Step.CONSENT, signed_in(), request(resource=[B]), consented=allowed("openid", "profile", at=A)
    ),
    "allowed at one of two": Case(
        Step.CONSENT, signed_in(), request(resource=[A, B]), consented=allowed("openid", "profile", at=A)
    ),
    "allowed in part there, in part elsewhere": Case(
        Step.CONSENT, signed_in(), request(resource=[A]), consented=allowed("openid", at=A) | allowed("profile", at=B)
    ),
    "allowed at both": Case(
        Step.FINISH,
        signed_in(),
        request(resource=[A, B]),
        consented=allowed("openid", "profile", at=A) | allowed("openid", "profile", at=B),
    ),
    "allowed without a resource, asked for with one": Case(Step.CONSENT, signed_in(), request(resource=[A])),
    "allowed at a resource, asked for without one": Case(
        Step.CONSENT, signed_in(), consented=allowed("openid", "profile", at=A)
    ),
    "trusted client": Case(Step.FINISH, signed_in(), client=client(require_consent=False), consented=frozenset()),
    "trusted client that insists": Case(
        Step.CONSENT, signed_in(), request(prompt=["consent"]), client(require_consent=False)
    ),
    "prompt consent asks again": Case(Step.CONSENT, signed_in(), request(prompt=["consent"])),
    "public client on the web is remembered": Case(
        Step.FINISH, signed_in(), client=client(token_endpoint_auth_method="none")
    ),
    "public client with a custom scheme is asked each time": Case(
        Step.CONSENT, signed_in(), request("com.example:/cb"), client(token_endpoint_auth_method="none")
    ),
    "public client on loopback is asked each time": Case(
        Step.CONSENT, signed_in(), request("http://127.0.0.1:1/cb"), client(token_endpoint_auth_method="none")
    ),
    "details are asked about each time": Case(Step.CONSENT, signed_in(), request(details=[{"type": "payment"}])),
    "details of a client that asks for no consent": Case(
        Step.FINISH, signed_in(), request(details=[{"type": "payment"}]), client(require_consent=False)
    ),
    "a claim within the consent": Case(Step.FINISH, signed_in(), request(claims={"userinfo": ["name"]})),
    "a claim beyond the consent": Case(Step.CONSENT, signed_in(), request(claims={"id_token": ["email"]})),
    "one factor is asked for": Case(Step.FINISH, signed_in(), request(acr_values=[ONE_FACTOR])),
    "two factors are asked for": Case(Step.SIGN_IN, signed_in(), request(acr_values=[TWO_FACTORS])),
    "two factors, or one": Case(Step.FINISH, signed_in(), request(acr_values=[TWO_FACTORS, ONE_FACTOR])),
    "two factors were used": Case(Step.FINISH, signed_in(amr=("pwd", "otp")), request(acr_values=[TWO_FACTORS])),
    "signed in again, with one": Case(Step.UNMET, signed_in(5, is_fresh=True), request(acr_values=[TWO_FACTORS])),
    "signed in again, with two": Case(
        Step.FINISH, signed_in(5, is_fresh=True, amr=("mfa",)), request(acr_values=[TWO_FACTORS])
    ),
    "a name that nobody here knows": Case(Step.FINISH, signed_in(), request(acr_values=["urn:gold"])),
    "a name that the provider may know": Case(
        Step.SIGN_IN, signed_in(is_federated=True, acr="urn:silver"), request(acr_values=["urn:gold"])
    ),
    "a name that the provider gave": Case(
        Step.FINISH, signed_in(is_federated=True, acr="urn:gold"), request(acr_values=["urn:gold"])
    ),
    "a name that the provider did not give again": Case(
        Step.FINISH, signed_in(5, is_fresh=True, is_federated=True), request(acr_values=["urn:gold"])
    ),
    "an essential name": Case(Step.SIGN_IN, signed_in(), request(acr_values=["urn:gold"], acr_essential=True)),
    "an essential name, not reached": Case(
        Step.UNMET, signed_in(5, is_fresh=True), request(acr_values=["urn:gold"], acr_essential=True)
    ),
    "another person, and not well enough": Case(
        Step.WRONG_ACCOUNT, signed_in(5, is_fresh=True), request(acr_values=[TWO_FACTORS], hint_user_id="u2")
    ),
    "may not use the application": Case(Step.NOT_ALLOWED, signed_in(may_use=False)),
    "may not, and is not asked for consent": Case(Step.NOT_ALLOWED, signed_in(may_use=False), consented=frozenset()),
    "may not, and wants another account": Case(
        Step.CHOOSE_ACCOUNT, signed_in(may_use=False), request(prompt=["select_account"])
    ),
    "may not, and has to sign in first": Case(Step.SIGN_IN, signed_in(may_use=False), request(prompt=["login"])),
    "sign-in comes before consent": Case(Step.SIGN_IN, None, request(prompt=["consent"]), consented=frozenset()),
}


@pytest.mark.spec("OpenID Connect Core 3.1.2.3, 5.5.1.1; RFC 8707 2; RFC 9470 4, 5")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_next_step(case: Case) -> None:
    assert (
        next_step(
            case.asked,
            case.client,
            case.standing,
            wants_again=case.wants_again,
            consented=case.consented,
            started_at=STARTED,
            now=NOW,
        )
        is case.step
    )


@pytest.mark.spec("OpenID Connect Core 3.1.2.6")
@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step.SIGN_IN, OAuthCode.LOGIN_REQUIRED),
        (Step.WRONG_ACCOUNT, OAuthCode.LOGIN_REQUIRED),
        (Step.CHOOSE_ACCOUNT, OAuthCode.ACCOUNT_SELECTION_REQUIRED),
        (Step.CONSENT, OAuthCode.CONSENT_REQUIRED),
        (Step.NOT_ALLOWED, OAuthCode.ACCESS_DENIED),
        (Step.UNMET, OAuthCode.UNMET_AUTHENTICATION_REQUIREMENTS),
    ],
)
def test_silent_request_is_told_what_would_have_to_be_shown(step: Step, error: OAuthCode) -> None:
    assert error_of(step)[0] is error


_SCOPES = st.frozensets(st.sampled_from(["openid", "profile", "email", "groups"]), min_size=1)


@given(_SCOPES, _SCOPES, st.frozensets(st.sampled_from(list(Prompt))), st.booleans(), st.integers(0, 10_000))
def test_nothing_is_finished_without_consent_to_all_of_it(
    asked: frozenset[str], consented: frozenset[str], prompt: frozenset[Prompt], is_fresh: bool, ago_s: int
) -> None:
    wanted = request(scope=asked, prompt=prompt)
    step = next_step(
        wanted,
        client(),
        signed_in(ago_s, is_fresh=is_fresh),
        wants_again=False,
        consented=allowed(*consented),
        started_at=STARTED,
        now=NOW,
    )
    if step is Step.FINISH:
        assert asked <= consented
        assert Prompt.CONSENT not in prompt
        assert is_fresh or Prompt.LOGIN not in prompt


def test_consent_is_needed_for_one_scope_more() -> None:
    assert not needs_consent(request(), client(), allowed("openid", "profile"))
    assert needs_consent(request(), client(), allowed("openid"))
