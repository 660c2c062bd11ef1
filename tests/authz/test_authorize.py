"""The ordered checks of an authorization request, each against what it must refuse."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz.authorize import STEPS, Asked, check
from watchword_authz.hints import Hint
from watchword_authz.requests import AuthorizationRefused, AuthorizationRequest, OAuthCode, Prompt, ResponseMode
from watchword_events.exports import ClientExport
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
    request = ask(nonce="n", login_hint="ann", max_age="60", prompt="login consent", acr_values="a b")
    assert request.scope == {"openid", "profile"}
    assert (request.state, request.nonce, request.code_challenge) == ("s1", "n", CHALLENGE)
    assert request.max_age_s == 60
    assert request.prompt == {Prompt.LOGIN, Prompt.CONSENT}
    assert (request.login_hint, request.acr_values) == ("ann", ("a", "b"))
    assert request.redirect_uri_given


def test_the_flow_keeps_the_request_through_its_row() -> None:
    request = ask(nonce="n", prompt="consent")
    assert AuthorizationRequest.model_validate(request.model_dump(mode="json")) == request


REFUSED: dict[str, tuple[dict[str, str | None], OAuthCode]] = {
    "response_type missing": ({"response_type": None}, OAuthCode.INVALID_REQUEST),
    "implicit": ({"response_type": "token"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "hybrid": ({"response_type": "code token"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "hybrid id_token": ({"response_type": "code id_token"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "response_type none": ({"response_type": "none"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "response_type case": ({"response_type": "Code"}, OAuthCode.UNSUPPORTED_RESPONSE_TYPE),
    "fragment mode": ({"response_mode": "fragment"}, OAuthCode.INVALID_REQUEST),
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
    "scope missing": ({"scope": None}, OAuthCode.INVALID_SCOPE),
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
    "acr_values malformed": ({"acr_values": "a\tb"}, OAuthCode.INVALID_REQUEST),
    "hint that is none of ours": ({"id_token_hint": "x.y.z"}, OAuthCode.INVALID_REQUEST),
    "resource of another": ({"resource": "https://other.example"}, OAuthCode.INVALID_TARGET),
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


@pytest.mark.parametrize("grants", [{"client_credentials"}, {"refresh_token"}])
def test_client_without_the_code_grant_is_refused(grants: set[str]) -> None:
    client = CLIENT.model_copy(update={"grant_types": frozenset(grants)})
    with pytest.raises(AuthorizationRefused) as refused:
        ask(client)
    assert refused.value.error is OAuthCode.UNAUTHORIZED_CLIENT


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


_NAMES = sorted(
    {*GOOD, "nonce", "prompt", "max_age", "login_hint", "acr_values", "response_mode", "request", "resource"}
    - {"client_id", "redirect_uri"}
)


@given(st.dictionaries(st.sampled_from(_NAMES), st.text(min_size=1)))
def test_any_input_is_accepted_or_refused_in_the_protocols_words(params: dict[str, str]) -> None:
    try:
        request = check(Asked({**GOOD, **params}, CLIENT))
    except AuthorizationRefused:
        return
    assert request.scope <= CLIENT.scope
    assert request.code_challenge
