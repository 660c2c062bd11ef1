"""The ordered checks of an authorization request, each against what it must refuse."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz.authorize import PARAMETERS, STEPS, check
from watchword_authz.checks import Asked
from watchword_authz.hints import Hint
from watchword_authz.requests import AuthorizationRefused, AuthorizationRequest, OAuthCode, Prompt, ResponseMode
from watchword_events.exports import ClientExport
from watchword_events.handovers import ClaimsRequest
from watchword_web.errors import PageError

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CLIENT = ClientExport(
    client_id="c1",
    client_name="App",
    redirect_uris=("https://app.example/cb", "com.example.app:/cb"),
    grant_types=frozenset({"authorization_code", "refresh_token"}),
    scope=frozenset({"openid", "profile", "email", "offline_access"}),
    audience=("https://api.example",),
)
GOOD = {
    "client_id": "c1",
    "redirect_uri": "https://app.example/cb",
    "response_type": "code",
    "scope": "openid profile",
    "state": "s1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def ask(client: ClientExport = CLIENT, hint: Hint | None = None, /, **changes: str | None) -> AuthorizationRequest:
    """The good request with these parameters changed; None leaves one out."""
    params: Mapping[str, Any] = {**GOOD, **changes}
    return check(Asked({name: value for name, value in params.items() if value is not None}, client, hint))


def test_good_request_is_kept_as_asked() -> None:
    request = ask(
        nonce="n", login_hint="ann", max_age="60", prompt="login consent", acr_values="a b", ui_locales="fr-CA <x> en"
    )
    assert request.scope == {"openid", "profile"}
    assert (request.state, request.nonce, request.code_challenge) == ("s1", "n", CHALLENGE)
    assert request.max_age_s == 60
    assert request.prompt == {Prompt.LOGIN, Prompt.CONSENT}
    assert (request.login_hint, request.acr_values) == ("ann", ("a", "b"))
    assert ask(ui_locales="fr-CA <x> en").ui_locales == ("fr-CA", "en"), "what is no language is left out"
    assert request.redirect_uri_given


@pytest.mark.parametrize("names", [("idp_hint",), ("kc_idp_hint",), ("idp_hint", "kc_idp_hint")])
def test_the_provider_to_go_to_has_two_names(names: tuple[str, ...]) -> None:
    request = ask(**dict.fromkeys(names, "Okta"))
    assert request.idp_hint == "Okta"
    assert AuthorizationRequest.model_validate(request.model_dump(mode="json")) == request
    assert ask().idp_hint is None


@pytest.mark.spec("RFC 6749 3.3")
@pytest.mark.seed(41, 43)
def test_who_names_no_scope_gets_what_needs_no_asking() -> None:
    more = frozenset({"offline_access", "applications:sign-in", "watchword:admin", "orders:read"})
    client = CLIENT.model_copy(update={"scope": CLIENT.scope | more})
    assert ask(client, scope=None).scope == client.scope - more - {"openid"} | {"orders:read"}
    assert ask(CLIENT.model_copy(update={"scope": frozenset({"openid"})}), scope=None).scope == frozenset()


@pytest.mark.spec("RFC 8707 2; RFC 9449 10")
def test_several_resources_and_a_key_are_kept() -> None:
    client = CLIENT.model_copy(update={"audience": ("https://api.example", "https://b.example", "urn:c")})
    request = ask(client, resource="urn:c https://b.example", dpop_jkt=CHALLENGE)
    assert (request.resource, request.dpop_jkt) == (("urn:c", "https://b.example"), CHALLENGE)


@pytest.mark.spec("RFC 9396 3")
def test_details_are_kept_and_may_be_all_that_is_asked_for() -> None:
    client = CLIENT.model_copy(update={"authorization_details_types": frozenset({"payment"})})
    raw = '[{"type": "payment", "actions": ["initiate"]}]'
    request = ask(client, authorization_details=raw)
    assert request.details == ({"type": "payment", "actions": ["initiate"]},)
    alone = ask(client, authorization_details=raw, scope=None)
    assert (alone.scope, alone.details) == (frozenset(), request.details)
    assert AuthorizationRequest.model_validate(alone.model_dump(mode="json")) == alone


@pytest.mark.spec("OpenID Connect Core 5.5")
def test_claims_are_kept_as_far_as_a_scope_of_the_client_opens_them() -> None:
    wanted = {"email": None, "phone_number": None, "acr": {"value": "a", "essential": True}}
    raw = json.dumps({"id_token": wanted, "userinfo": {"name": None}})
    request = ask(claims=raw, acr_values="b", scope="openid")
    assert request.claims == ClaimsRequest(id_token=("email",), userinfo=("name",))
    assert request.consent_scope == {"openid", "email", "profile"}
    assert (request.acr_values, request.acr_essential) == (("a",), True)
    assert AuthorizationRequest.model_validate(request.model_dump(mode="json")) == request
    plain = ask(claims=raw, scope="email")
    assert (plain.claims, plain.acr_essential) == (None, False)
    assert ask(claims='{"userinfo": {"phone_number": null}}').claims is None


def test_claims_may_name_whom_the_answer_is_about() -> None:
    raw = '{"id_token": {"sub": {"value": "u1"}}}'
    assert ask(claims=raw).hint_user_id == "u1"
    hinted = ask(CLIENT, Hint("u1", "c1", None), claims=raw, id_token_hint="t")
    assert hinted.hint_user_id == "u1"
    with pytest.raises(AuthorizationRefused) as refused:
        ask(CLIENT, Hint("u2", "c1", None), claims=raw, id_token_hint="t")
    assert refused.value.error is OAuthCode.INVALID_REQUEST


def test_the_flow_keeps_the_request_through_its_row() -> None:
    request = ask(nonce="n", prompt="consent")
    assert AuthorizationRequest.model_validate(request.model_dump(mode="json")) == request


REFUSED: dict[str, tuple[dict[str, str | None], OAuthCode]] = {
    "response_type missing": ({"response_type": None}, OAuthCode.INVALID_REQUEST),
    "implicit": ({"response_type": "token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "implicit ID token": ({"response_type": "id_token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "implicit both": ({"response_type": "id_token token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "hybrid": ({"response_type": "code token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "hybrid id_token": ({"response_type": "code id_token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "hybrid all": ({"response_type": "code id_token token"}, OAuthCode.UNAUTHORIZED_CLIENT),
    "response_type twice the same": ({"response_type": "code code"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "response_type with two spaces": ({"response_type": "code  token"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "response_type none": ({"response_type": "none"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "response_type case": ({"response_type": "Code"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "fragment mode": ({"response_mode": "fragment"}, OAuthCode.INVALID_REQUEST),
    "signed mode": ({"response_mode": "jwt"}, OAuthCode.INVALID_REQUEST),
    "signed query": ({"response_mode": "query.jwt"}, OAuthCode.INVALID_REQUEST),
    "signed nonsense": ({"response_mode": "jwt.jwt"}, OAuthCode.INVALID_REQUEST),
    "unknown mode": ({"response_mode": "web_message"}, OAuthCode.INVALID_REQUEST),
    "form_post to a custom scheme": (
        {"response_mode": "form_post", "redirect_uri": "com.example.app:/cb"},
        OAuthCode.INVALID_REQUEST,
    ),
    "request object": ({"request": "e30.e30."}, OAuthCode.REQUEST_NOT_SUPPORTED),
    "request_uri": ({"request_uri": "https://evil.example/r"}, OAuthCode.REQUEST_URI_NOT_SUPPORTED),
    "registration": ({"registration": "{}"}, OAuthCode.REGISTRATION_NOT_SUPPORTED),
    "no challenge": ({"code_challenge": None, "code_challenge_method": None}, OAuthCode.INVALID_REQUEST),
    "plain challenge": ({"code_challenge_method": "plain"}, OAuthCode.INVALID_REQUEST),
    "method missing means plain": ({"code_challenge_method": None}, OAuthCode.INVALID_REQUEST),
    "method case": ({"code_challenge_method": "s256"}, OAuthCode.INVALID_REQUEST),
    "short challenge": ({"code_challenge": CHALLENGE[:-1]}, OAuthCode.INVALID_REQUEST),
    "long challenge": ({"code_challenge": CHALLENGE + "A"}, OAuthCode.INVALID_REQUEST),
    "padded challenge": ({"code_challenge": CHALLENGE[:-1] + "="}, OAuthCode.INVALID_REQUEST),
    "method without challenge": ({"code_challenge": None}, OAuthCode.INVALID_REQUEST),
    "scope not allowed": ({"scope": "watchword:admin"}, OAuthCode.INVALID_SCOPE),
    "scope with quote": ({"scope": 'openid "x'}, OAuthCode.INVALID_SCOPE),
    "scope with two spaces": ({"scope": "openid  profile"}, OAuthCode.INVALID_SCOPE),
    "state with newline": ({"state": "a\nb"}, OAuthCode.INVALID_REQUEST),
    "state not ASCII": ({"state": "ü"}, OAuthCode.INVALID_REQUEST),
    "state too long": ({"state": "x" * 2049}, OAuthCode.INVALID_REQUEST),
    "nonce too long": ({"nonce": "x" * 513}, OAuthCode.INVALID_REQUEST),
    "nonce with control character": ({"nonce": "a\x1b"}, OAuthCode.INVALID_REQUEST),
    "prompt unknown": ({"prompt": "create"}, OAuthCode.INVALID_REQUEST),
    "prompt none with another": ({"prompt": "none login"}, OAuthCode.INVALID_REQUEST),
    "max_age negative": ({"max_age": "-1"}, OAuthCode.INVALID_REQUEST),
    "max_age text": ({"max_age": "soon"}, OAuthCode.INVALID_REQUEST),
    "max_age huge": ({"max_age": "9" * 40}, OAuthCode.INVALID_REQUEST),
    "max_age in other digits": ({"max_age": "١"}, OAuthCode.INVALID_REQUEST),
    "login_hint too long": ({"login_hint": "x" * 255}, OAuthCode.INVALID_REQUEST),
    "login_hint with control character": ({"login_hint": "a\r\nb"}, OAuthCode.INVALID_REQUEST),
    "idp_hint too long": ({"idp_hint": "x" * 255}, OAuthCode.INVALID_REQUEST),
    "idp_hint with control character": ({"idp_hint": "Okta\r\nLocation: x"}, OAuthCode.INVALID_REQUEST),
    "kc_idp_hint with a null character": ({"kc_idp_hint": "Okta\0"}, OAuthCode.INVALID_REQUEST),
    "two providers named": ({"idp_hint": "Okta", "kc_idp_hint": "GitHub"}, OAuthCode.INVALID_REQUEST),
    "one provider named in two ways of writing": (
        {"idp_hint": "Okta", "kc_idp_hint": "okta"},
        OAuthCode.INVALID_REQUEST,
    ),
    "acr_values malformed": ({"acr_values": "a\tb"}, OAuthCode.INVALID_REQUEST),
    "hint that is none of ours": ({"id_token_hint": "x.y.z"}, OAuthCode.INVALID_REQUEST),
    "resource of another": ({"resource": "https://other.example"}, OAuthCode.INVALID_TARGET),
    "one resource of another": ({"resource": "https://api.example https://other.example"}, OAuthCode.INVALID_TARGET),
    "details of another": ({"authorization_details": '[{"type": "admin"}]'}, OAuthCode.INVALID_AUTHORIZATION_DETAILS),
    "details that are none": ({"authorization_details": "payment"}, OAuthCode.INVALID_AUTHORIZATION_DETAILS),
    "claims that are none": ({"claims": "name"}, OAuthCode.INVALID_REQUEST),
    "short thumbprint": ({"dpop_jkt": CHALLENGE[:-1]}, OAuthCode.INVALID_REQUEST),
    "long thumbprint": ({"dpop_jkt": CHALLENGE + "A"}, OAuthCode.INVALID_REQUEST),
    "padded thumbprint": ({"dpop_jkt": CHALLENGE[:-1] + "="}, OAuthCode.INVALID_REQUEST),
}


@pytest.mark.spec("RFC 6749 3.1.1, 4.1.2.1, A.5; OpenID Connect Core 6; RFC 8707 2")
@pytest.mark.spec("RFC 7636 4.3, 4.4.1; RFC 9700 2.1.2")
@pytest.mark.parametrize(("changes", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal_goes_to_the_application(changes: dict[str, str | None], error: OAuthCode) -> None:
    with pytest.raises(AuthorizationRefused) as refused:
        ask(**changes)
    assert refused.value.error is error
    assert refused.value.request.redirect_uri in CLIENT.redirect_uris


ON_A_PAGE: dict[str, dict[str, str | None]] = {
    "no redirect_uri": {"redirect_uri": None},
    "foreign redirect_uri": {"redirect_uri": "https://evil.example/cb"},
    "foreign redirect_uri and bad response_type": {
        "redirect_uri": "https://evil.example/cb",
        "response_type": "foo",
    },
    "foreign redirect_uri and bad scope": {"redirect_uri": "https://evil.example/cb", "scope": '"'},
    "foreign redirect_uri and form_post": {"redirect_uri": "https://evil.example/cb", "response_mode": "form_post"},
    "javascript": {"redirect_uri": "javascript:alert(1)"},
}


@pytest.mark.spec("RFC 9700 4.11.2; RFC 6749 3.1.2.4")
@pytest.mark.parametrize("changes", ON_A_PAGE.values(), ids=ON_A_PAGE.keys())
def test_error_before_the_redirect_uri_holds_is_a_page(changes: dict[str, str | None]) -> None:
    with pytest.raises(PageError) as refused:
        ask(**changes)
    assert refused.value.status == 400


def test_registered_uri_that_could_run_script_is_never_used() -> None:
    client = CLIENT.model_copy(update={"redirect_uris": ("javascript:alert(1)",)})
    with pytest.raises(PageError):
        ask(client, redirect_uri="javascript:alert(1)")


@pytest.mark.spec("RFC 6749 3.1.2.3")
def test_only_redirect_uri_may_be_left_out_outside_openid() -> None:
    client = CLIENT.model_copy(update={"redirect_uris": ("https://app.example/cb",)})
    request = ask(client, redirect_uri=None, scope="profile")
    assert (request.redirect_uri, request.redirect_uri_given) == ("https://app.example/cb", False)
    with pytest.raises(PageError):
        ask(client, redirect_uri=None, scope="openid profile")


@pytest.mark.spec("OAuth 2.0 Multiple Response Type Encoding Practices 2.1")
def test_error_by_form_post_when_that_was_asked_for() -> None:
    with pytest.raises(AuthorizationRefused) as refused:
        ask(response_mode="form_post", response_type="token")
    assert refused.value.request.response_mode is ResponseMode.FORM_POST
    assert refused.value.request.state == "s1"


TYPES = ("id_token", "token", "id_token token", "code id_token", "code token", "code id_token token")
HYBRID = CLIENT.model_copy(
    update={
        "grant_types": CLIENT.grant_types | {"implicit"},
        "response_types": frozenset({"code", *TYPES}),
        "response_modes": frozenset(mode for mode in ResponseMode),
    }
)


@pytest.mark.spec(
    "OAuth 2.0 Multiple Response Type Encoding Practices 2.1, 3, 5; OpenID Connect Core 3.2.2.1, 3.3.2.11"
)
@pytest.mark.parametrize("response_type", TYPES)
def test_tokens_are_asked_for_where_they_were_allowed_and_come_in_the_fragment(response_type: str) -> None:
    request = ask(HYBRID, response_type=" ".join(reversed(response_type.split())), nonce="n")
    assert request.response_type == set(response_type.split())
    assert request.response_mode is ResponseMode.FRAGMENT
    assert (request.code_challenge is not None) is ("code" in response_type.split())
    assert ("offline_access" in ask(HYBRID, response_type=response_type, nonce="n", scope="openid offline_access").scope
            ) is ("code" in response_type.split())  # fmt: skip
    assert AuthorizationRequest.model_validate(request.model_dump(mode="json")) == request


MODES = {
    ("code", None): ResponseMode.QUERY,
    ("code", "fragment"): ResponseMode.FRAGMENT,
    ("code", "jwt"): ResponseMode.QUERY_JWT,
    ("code", "query.jwt"): ResponseMode.QUERY_JWT,
    ("code", "form_post.jwt"): ResponseMode.FORM_POST_JWT,
    ("id_token", "jwt"): ResponseMode.FRAGMENT_JWT,
    ("id_token", "fragment.jwt"): ResponseMode.FRAGMENT_JWT,
    ("code token", "form_post"): ResponseMode.FORM_POST,
}


@pytest.mark.row(9)
@pytest.mark.spec("JARM 2.3")
@pytest.mark.parametrize(("asked", "mode"), MODES.items())
def test_mode_is_the_one_asked_for_or_the_types_own(asked: tuple[str, str | None], mode: ResponseMode) -> None:
    assert ask(HYBRID, response_type=asked[0], response_mode=asked[1], nonce="n").response_mode is mode


NOT_HYBRID: dict[str, tuple[dict[str, str | None], OAuthCode]] = {
    "tokens in a query": ({"response_mode": "query"}, OAuthCode.INVALID_REQUEST),
    "tokens in a signed query": ({"response_mode": "query.jwt"}, OAuthCode.INVALID_REQUEST),
    "no nonce": ({"nonce": None}, OAuthCode.INVALID_REQUEST),
    "no openid": ({"scope": "profile"}, OAuthCode.INVALID_SCOPE),
    "a code without PKCE": ({"code_challenge": None, "code_challenge_method": None}, OAuthCode.INVALID_REQUEST),
    "form_post to a custom scheme": (
        {"response_mode": "form_post", "redirect_uri": "com.example.app:/cb"},
        OAuthCode.INVALID_REQUEST,
    ),
}


@pytest.mark.spec("JARM 2.3.1; OpenID Connect Core 3.3.2.5")
@pytest.mark.parametrize(("changes", "error"), NOT_HYBRID.values(), ids=NOT_HYBRID.keys())
def test_refused_hybrid_request_is_told_in_the_fragment(changes: dict[str, str | None], error: OAuthCode) -> None:
    with pytest.raises(AuthorizationRefused) as refused:
        ask(HYBRID, **{"response_type": "code id_token token", "nonce": "n", **changes})
    assert refused.value.error is error
    assert refused.value.request.response_mode is ResponseMode.FRAGMENT


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"grant_types": {"implicit"}}, OAuthCode.UNAUTHORIZED_CLIENT, id="without the code grant"),
        pytest.param({"grant_types": {"authorization_code"}}, OAuthCode.UNAUTHORIZED_CLIENT, id="without implicit"),
        pytest.param({"response_types": {"code", "id_token"}}, OAuthCode.UNAUTHORIZED_CLIENT, id="another type"),
        pytest.param({"response_modes": {"query", "form_post"}}, OAuthCode.INVALID_REQUEST, id="no fragment"),
    ],
)
def test_hybrid_needs_its_grants_its_type_and_its_mode(change: dict[str, set[str]], error: OAuthCode) -> None:
    client = HYBRID.model_copy(update={name: frozenset(values) for name, values in change.items()})
    with pytest.raises(AuthorizationRefused) as refused:
        ask(client, response_type="code id_token", nonce="n")
    assert refused.value.error is error


def test_client_whose_tokens_are_bound_to_a_key_gets_none_in_the_browser() -> None:
    client = HYBRID.model_copy(update={"dpop_bound_access_tokens": True})
    assert ask(client, response_type="code id_token", nonce="n").wants_tokens
    with pytest.raises(AuthorizationRefused) as refused:
        ask(client, response_type="code token", nonce="n")
    assert refused.value.error is OAuthCode.UNAUTHORIZED_CLIENT


@pytest.mark.parametrize("grants", [{"client_credentials"}, {"refresh_token"}])
def test_client_without_the_code_grant_is_refused(grants: set[str]) -> None:
    client = CLIENT.model_copy(update={"grant_types": frozenset(grants)})
    with pytest.raises(AuthorizationRefused) as refused:
        ask(client)
    assert refused.value.error is OAuthCode.UNAUTHORIZED_CLIENT


@pytest.mark.row(5)
@pytest.mark.parametrize(("method", "is_accepted"), [("client_secret_basic", True), ("none", False)])
def test_only_a_confidential_client_may_be_excused_from_pkce(method: str, is_accepted: bool) -> None:
    client = CLIENT.model_copy(update={"require_pkce": False, "token_endpoint_auth_method": method})
    changes: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
    if is_accepted:
        assert ask(client, **changes).code_challenge is None
    else:
        with pytest.raises(AuthorizationRefused):
            ask(client, **changes)


def test_scope_is_asked_for_and_allowed() -> None:
    assert ask(scope="openid email watchword:admin unheard").scope == {"openid", "email"}


@pytest.mark.spec("OpenID Connect Core 11")
def test_offline_access_needs_the_refresh_grant() -> None:
    client = CLIENT.model_copy(update={"grant_types": frozenset({"authorization_code"})})
    assert ask(scope="openid offline_access").scope == {"openid", "offline_access"}
    assert ask(client, scope="openid offline_access").scope == {"openid"}


def test_hint_names_whom_the_answer_is_about() -> None:
    assert ask(CLIENT, Hint("u1", "c1", None), id_token_hint="t").hint_user_id == "u1"


def test_hint_of_another_client_is_refused() -> None:
    with pytest.raises(AuthorizationRefused):
        ask(CLIENT, Hint("u1", "c2", None), id_token_hint="t")


def test_state_is_known_before_anything_else_is_refused() -> None:
    """So that every error carries it."""
    assert STEPS[0].__name__ == "keep_state"
    assert STEPS[1].__name__ == "choose_response_mode"


_NAMES = sorted(PARAMETERS - {"client_id", "redirect_uri", "request_uri"})


@given(st.sampled_from([CLIENT, HYBRID]), st.dictionaries(st.sampled_from(_NAMES), st.text(min_size=1)))
def test_any_input_is_accepted_or_refused_in_the_protocols_words(client: ClientExport, params: dict[str, str]) -> None:
    try:
        request = check(Asked({**GOOD, **params}, client))
    except AuthorizationRefused:
        return
    assert request.scope <= client.scope
    assert request.code_challenge
