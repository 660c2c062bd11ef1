"""What may be said of a client."""

import pytest
from pydantic import ValidationError
from tests.admin.conftest import CLIENT

from watchword_admin.client_documents import ClientDocument, NewClient

REFUSED: dict[str, dict[str, object]] = {
    "no name": {"client_name": None},
    "blank name": {"client_name": "  "},
    "name with a line break": {"client_name": "App\nadmin"},
    "name with a direction mark": {"client_name": "App \u202egnp.exe"},
    "name with a zero-width space": {"client_name": "App\u200b"},
    "long name": {"client_name": "a" * 129},
    "short name with a space": {"short_name": "a b"},
    "script as start page": {"main_uri": "javascript:alert(1)"},
    "no redirect URI": {"redirect_uris": []},
    "redirect URI as text": {"redirect_uris": "https://app.example.com/callback"},
    "bad redirect URI": {"redirect_uris": ["https://app.example.com/callback", "http://app.example.com/callback"]},
    "too many redirect URIs": {"redirect_uris": [f"https://app.example.com/{n}" for n in range(65)]},
    "bad URI after sign-out": {"post_logout_redirect_uris": ["https://app.example.com/#x"]},
    "any origin": {"allowed_origins": ["*"]},
    "no grant": {"grant_types": []},
    "implicit": {"grant_types": ["implicit"]},
    "password grant": {"grant_types": ["password"]},
    "response type token": {"response_types": ["token"]},
    "hybrid": {"response_types": ["code id_token"]},
    "response type without its grant": {"grant_types": ["client_credentials"], "response_types": ["code"]},
    "grant without its response type": {"response_types": []},
    "refresh token alone": {"grant_types": ["refresh_token", "client_credentials"], "redirect_uris": []},
    "unknown authentication": {"token_endpoint_auth_method": "client_secret_jwe"},
    "public client with client_credentials": {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "client_credentials"],
    },
    "public client without PKCE": {"token_endpoint_auth_method": "none", "require_pkce": False},
    "public client with a secret": {"token_endpoint_auth_method": "none", "client_secret": "x" * 40},
    "short secret": {"client_secret": "x" * 15},
    "empty secret": {"client_secret": ""},
    "secret beyond ascii": {"client_secret": "\u00e9" * 32},
    "secret with a line break": {"client_secret": "x" * 32 + "\n"},
    "scope with a quote": {"scope": 'openid "admin"'},
    "scope with two spaces": {"scope": "openid  email"},
    "scope with a line break": {"scope": "openid\nemail"},
    "scope as list": {"scope": ["openid"]},
    "request objects without keys": {"request_object_signing_alg": "ES256"},
    "signed requests without an algorithm": {"require_signed_request_object": True},
    "unsigned request objects": {"request_object_signing_alg": "none", "jwks_uri": "https://app.example.com/jwks"},
    "symmetric request objects": {"request_object_signing_alg": "HS256", "jwks_uri": "https://app.example.com/jwks"},
    "type of details with a space": {"authorization_details_types": ["a b"]},
    "empty type of details": {"authorization_details_types": [""]},
    "long type of details": {"authorization_details_types": ["a" * 129]},
    "too many types of details": {"authorization_details_types": [f"t{n}" for n in range(33)]},
    "frame of another origin": {"frontchannel_logout_uri": "https://other.example.com/out"},
    "frame at another port": {"frontchannel_logout_uri": "https://app.example.com:8443/out"},
    "frame without TLS": {"frontchannel_logout_uri": "http://app.example.com/out"},
    "frame that runs script": {"frontchannel_logout_uri": "javascript:alert(1)"},
    "frame with a fragment": {"frontchannel_logout_uri": "https://app.example.com/out#x"},
    "frame that says who": {"frontchannel_logout_uri": "https://app.example.com/out?iss=x"},
    "a session without a frame": {"frontchannel_logout_session_required": True},
    "audience with a space": {"audience": ["a b"]},
    "endless token": {"access_token_lifetime_s": 86_401},
    "no life": {"access_token_lifetime_s": 0},
    "negative life": {"access_token_lifetime_s": -1},
    "life as text": {"access_token_lifetime_s": "long"},
    "idle longer than all": {"refresh_idle_s": 7200, "refresh_max_s": 3600},
    "endless grant": {"refresh_max_s": 366 * 86_400},
    "symmetric ID token": {"id_token_signed_response_alg": "HS256"},
    "unsigned ID token": {"id_token_signed_response_alg": "none"},
    "symmetric access token": {"access_token_signing_alg": "HS256"},
    "unknown format": {"access_token_format": "xml"},
    "groups as sub": {"groups_claim": "sub"},
    "groups as a claim of rules": {"groups_claim": "service_account"},
    "groups as a standard claim": {"groups_claim": "email"},
    "groups under a name with a space": {"groups_claim": "my groups"},
    "groups under no name": {"groups_claim": ""},
    "groups under a number": {"groups_claim": "1st"},
    "groups under a long name": {"groups_claim": "g" * 129},
    "broken group filter": {"groups_filter": ["^ok$", "("]},
    "group filter that looks ahead": {"groups_filter": ["(?=a)"]},
    "huge group filter": {"groups_filter": ["(a{500}b{500}){1,9}"]},
    "long group filter": {"groups_filter": ["a" * 513]},
    "too many group filters": {"groups_filter": [str(n) for n in range(33)]},
    "group filter as text": {"groups_filter": "^a"},
    "no room for a token": {"max_token_bytes": 511},
    "too much room for a token": {"max_token_bytes": 65_537},
    "unknown access": {"access": "closed"},
    "permission with a space": {"required_permission": "orders read"},
    "empty permission": {"required_permission": ""},
    "permission of Watchword's own": {"required_permission": "watchword:admin"},
    "bound by a permission of Watchword's own": {"permission_scope": ["orders.read", "watchword:admin"]},
    "bound by a permission that nobody has": {"permission_scope": ["watchword:users:everything"]},
    "required permission of Watchword's own": {"required_permission": "watchword:users:read"},
    "scripts without their grant": {"personal_credentials": True},
    "sessions bound without a range": {"bind_session_ip": True},
    "bound as text": {"permission_scope": "DATASTORE-VIEWER"},
    "too many permissions": {"permission_scope": [f"p{n}" for n in range(257)]},
    "empty organization": {"organization": ""},
    "long organization": {"organization": "a" * 65},
}

# Members that this version does not know, or that are not the caller's to say. Each is refused by its name.
UNKNOWN = {
    "client_id": "mine",
    "secrets": [],
    "version": 7,
    "trusted": True,
    "jwks_url": "http://169.254.169.254/latest",
    "sector_identifier_url": "https://app.example.com/sector",
}


@pytest.mark.spec("RFC 7591 2")
@pytest.mark.spec("RFC 9700 2.1")
@pytest.mark.spec("RFC 9700 2.1.1")
@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_or_must_not_be_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NewClient.model_validate(CLIENT | given)


@pytest.mark.parametrize(("name", "value"), UNKNOWN.items(), ids=UNKNOWN)
def test_unknown_members_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        NewClient.model_validate(CLIENT | {name: value})
    assert [error["loc"] for error in refusal.value.errors()] == [(name,)]


def test_the_defaults_are_the_strict_ones() -> None:
    client = ClientDocument.model_validate(CLIENT)
    assert client.grant_types == ("authorization_code",)
    assert client.token_endpoint_auth_method == "client_secret_basic"
    assert client.require_pkce
    assert client.require_consent
    assert client.refresh_requires_session
    assert client.allowed_origins == ()
    assert client.lifetime_s == 300
    assert "offline_access" not in client.scope


def test_an_opaque_token_lives_for_ten_hours_unless_said() -> None:
    opaque = ClientDocument.model_validate(CLIENT | {"access_token_format": "opaque"})
    assert opaque.lifetime_s == 36_000
    assert opaque.model_copy(update={"access_token_lifetime_s": 60}).lifetime_s == 60


def test_pkce_may_be_left_to_a_confidential_client() -> None:
    assert not ClientDocument.model_validate(CLIENT | {"require_pkce": False}).require_pkce


def test_a_secret_is_not_shown_by_accident() -> None:
    client = NewClient.model_validate(CLIENT | {"client_secret": "correct-horse-battery"})
    assert "correct-horse-battery" not in repr(client)
    assert "client_secret" not in client.document().model_dump()


def test_repeated_values_count_once() -> None:
    uri = "https://app.example.com/callback"
    client = ClientDocument.model_validate(CLIENT | {"redirect_uris": [uri, uri], "scope": "openid email openid"})
    assert client.redirect_uris == (uri,)
    assert client.scope == "openid email"


@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0 2.2")
def test_a_client_may_hear_of_logouts() -> None:
    told = {"backchannel_logout_uri": "https://app.example.com/logout", "backchannel_logout_session_required": True}
    assert ClientDocument.model_validate(CLIENT | told).backchannel_logout_session_required
    with pytest.raises(ValidationError):
        ClientDocument.model_validate(CLIENT | {"backchannel_logout_session_required": True})


def test_a_public_client_may_take_scripts_of_persons() -> None:
    settings = {"grant_types": ["authorization_code", "client_credentials"], "personal_credentials": True}
    public = NewClient.model_validate(CLIENT | settings | {"token_endpoint_auth_method": "none"})
    assert public.personal_credentials
    opaque = NewClient.model_validate(CLIENT | settings | {"access_token_format": "opaque"})
    assert opaque.lifetime_s == 300, "a script asks again"


def test_a_permission_scope_may_bound_the_administration() -> None:
    scope = ("orders:read", "watchword:users:read", "watchword:me:write")
    assert NewClient.model_validate(CLIENT | {"permission_scope": [*scope]}).permission_scope == scope
