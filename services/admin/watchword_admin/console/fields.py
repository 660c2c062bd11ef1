"""Between the console's forms and the documents of the API: the same members, the same rules, the same words."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from watchword_admin.client_documents import ClientView
from watchword_admin.provider_documents import ENDPOINTS, ProviderView

Values = dict[str, str]
Errors = dict[str, str]

_LINES: Final = ("redirect_uris", "post_logout_redirect_uris", "allowed_origins", "audience")
_GRANTS: Final = ("authorization_code", "refresh_token", "client_credentials")
_CLIENT_TEXTS: Final = ("client_name", "short_name", "description", "main_uri", "scope")
_CLIENT_CHOICES: Final = ("token_endpoint_auth_method", "access_token_format")
_CLIENT_SWITCHES: Final = ("require_consent", "require_pkce", "refresh_requires_session")
_PROVIDER_TEXTS: Final = ("display_name", "issuer", "client_id")
_PROVIDER_SWITCHES: Final = ("pkce", "sign_in", "enabled")


def client_members(form: Mapping[str, str]) -> dict[str, JsonValue]:
    """The members of a client that a form says; what is empty returns to its default."""
    members: dict[str, JsonValue] = {name: form.get(name) for name in _CLIENT_TEXTS}
    members["scope"] = form.get("scope", "")
    members |= {name: form[name] for name in _CLIENT_CHOICES if name in form}
    members |= {name: list(form.get(name, "").split()) for name in _LINES}
    members |= {name: name in form for name in _CLIENT_SWITCHES}
    members["grant_types"] = [grant for grant in _GRANTS if f"grant_{grant}" in form]
    members["access_token_lifetime_s"] = _number(form.get("access_token_lifetime_s"))
    return members


def client_values(client: ClientView) -> Values:
    """What the form of an existing client shows."""
    values = {name: str(getattr(client, name) or "") for name in (*_CLIENT_TEXTS, *_CLIENT_CHOICES)}
    values |= {name: "\n".join(getattr(client, name)) for name in _LINES}
    values |= {name: "1" for name in _CLIENT_SWITCHES if getattr(client, name)}
    values |= {f"grant_{grant}": "1" for grant in client.grant_types}
    values["access_token_lifetime_s"] = str(client.access_token_lifetime_s or "")
    return values


def new_client_values() -> Values:
    """What the form of a new client shows first."""
    return {
        "scope": "openid profile email",
        "token_endpoint_auth_method": "client_secret_basic",
        "access_token_format": "jwt",
        "grant_authorization_code": "1",
        **dict.fromkeys(_CLIENT_SWITCHES, "1"),
    }


def provider_members(form: Mapping[str, str]) -> dict[str, JsonValue]:
    """The members of a provider that a form says. An empty client secret changes nothing."""
    members: dict[str, JsonValue] = {name: form.get(name) for name in (*_PROVIDER_TEXTS, *ENDPOINTS)}
    members["scopes"] = list(form.get("scopes", "").replace(",", " ").split())
    members["order"] = _number(form.get("order")) or 0
    members |= {name: name in form for name in _PROVIDER_SWITCHES}
    if "client_secret" in form:
        members["client_secret"] = form["client_secret"]
    return members


def provider_values(provider: ProviderView) -> Values:
    """What the form of an existing provider shows; never its secret."""
    values = {name: str(getattr(provider, name) or "") for name in (*_PROVIDER_TEXTS, *ENDPOINTS)}
    values |= {"id": provider.id, "scopes": " ".join(provider.scopes), "order": str(provider.order)}
    return values | {name: "1" for name in _PROVIDER_SWITCHES if getattr(provider, name)}


def new_provider_values() -> Values:
    """What the form of a new provider shows first."""
    return {"scopes": "openid email profile", "order": "0", **dict.fromkeys(_PROVIDER_SWITCHES, "1")}


def errors_of(invalid: ValidationError) -> Errors:
    """What is wrong, by the form's field; "" for what concerns several."""
    found: Errors = {}
    for problem in invalid.errors(include_input=False, include_url=False):
        message = str(problem["msg"]).removeprefix("Value error, ")
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if not field and ": " in message:  # a rule over several members begins with the one that has to change
            field, message = message.split(": ", 1)
        found.setdefault(_FIELDS.get(field, field), message)
    return found


_FIELDS: Final = {"grant_types": "grant_authorization_code", "response_types": "grant_authorization_code"}


def _number(text: str | None) -> JsonValue:
    """The number, or the text itself, which the document then refuses with its own words."""
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
