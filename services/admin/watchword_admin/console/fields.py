"""Between the console's forms and the documents of the API: the same members, the same rules, the same words."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from watchword_admin.client_documents import ClientDocument, Grant
from watchword_admin.console.controls import said_of, shown_by
from watchword_admin.console.exchange import exchange_members, exchange_values
from watchword_admin.console.kinds.client_fields import FIELDS as CLIENT_FIELDS
from watchword_admin.oauth_documents import OAuthDocument
from watchword_admin.presets import Preset, PresetField
from watchword_admin.provider_kinds import ProviderView
from watchword_events.exports import ClientAuthMethod
from watchword_web.texts import Text

Values = dict[str, str]
Errors = dict[str, str]

_LINES: Final = ("redirect_uris", "post_logout_redirect_uris", "allowed_origins", "audience")
GRANTS: Final[Mapping[Grant, Text]] = {
    "authorization_code": Text("Sign people in (authorization code)"),
    "refresh_token": Text("Stay signed in (refresh token)"),
    "client_credentials": Text("Act for itself (client credentials)"),
    "urn:ietf:params:oauth:grant-type:device_code": Text("Sign in on devices without a keyboard (device code)"),
    "urn:ietf:params:oauth:grant-type:token-exchange": Text("Exchange tokens for others (token exchange)"),
    "urn:ietf:params:oauth:grant-type:jwt-bearer": Text("Exchange a trusted issuer's tokens (JWT bearer)"),
    "implicit": Text("Get tokens through the browser (implicit), which only old applications need"),
}
METHODS: Final[Mapping[ClientAuthMethod, Text]] = {
    "client_secret_basic": Text("Secret, in the Authorization header"),
    "client_secret_post": Text("Secret, in the form"),
    "client_secret_jwt": Text("Secret that signs a proof (client_secret_jwt)"),
    "private_key_jwt": Text("Key of its own that signs a proof (private_key_jwt)"),
    "tls_client_auth": Text("TLS certificate of a known authority (tls_client_auth)"),
    "self_signed_tls_client_auth": Text("TLS certificate of its own (self_signed_tls_client_auth)"),
    "none": Text("None: a browser or native application"),
}
_CLIENT_TEXTS: Final = ("client_name", "short_name", "description", "main_uri", "scope")
_CLIENT_CHOICES: Final = ("token_endpoint_auth_method", "access_token_format")
_CLIENT_SWITCHES: Final = ("require_consent", "require_pkce", "refresh_requires_session")
_PROVIDER_SWITCHES: Final = ("sign_in", "enabled")  # of every kind
_PROVIDER_PEOPLE: Final = ("organization", "default_role", "linking", "sync")


def client_members(form: Mapping[str, str]) -> dict[str, JsonValue]:
    """The members of a client that a form says; what is empty returns to its default. Raises Refused."""
    members: dict[str, JsonValue] = {name: form.get(name) or None for name in _CLIENT_TEXTS}
    members["scope"] = form.get("scope", "")
    members |= {name: form[name] for name in _CLIENT_CHOICES if name in form}
    members |= {name: list(form.get(name, "").split()) for name in _LINES}
    members |= {name: name in form for name in _CLIENT_SWITCHES}
    members["grant_types"] = [grant for grant in GRANTS if grant_control(grant) in form]
    members["access_token_lifetime_s"] = _number(form.get("access_token_lifetime_s") or None)
    return members | {field.name: said_of(field, form) for field in CLIENT_FIELDS}


def client_changes(form: Mapping[str, str], shown: Values) -> dict[str, JsonValue]:
    """The members that a form says otherwise than it was shown; the others stay, whatever they are. Raises Refused."""
    before = client_members({name: value for name, value in shown.items() if value})
    return {name: value for name, value in client_members(form).items() if value != before.get(name)}


def client_values(client: ClientDocument, organization: str | None) -> Values:
    """What the form of an existing client shows: what was said, and not what follows from it.

    organization: the short name of the client's.
    """
    values = {name: str(getattr(client, name) or "") for name in (*_CLIENT_TEXTS, *_CLIENT_CHOICES)}
    values |= {name: "\n".join(getattr(client, name)) for name in _LINES}
    values |= {name: "1" for name in _CLIENT_SWITCHES if getattr(client, name)}
    values |= {grant_control(grant): "1" for grant in client.grant_types}
    values["access_token_lifetime_s"] = str(client.access_token_lifetime_s or "")
    values |= shown_by(CLIENT_FIELDS, client.model_dump(mode="json") | {"organization": organization})
    return values | ({"permission_scope": "[]"} if client.permission_scope == () else {})


def grant_control(grant: Grant) -> str:
    """The name of the control of a grant type."""
    return f"grant_{grant.rpartition(':')[2].replace('-', '_')}"


def new_client_values() -> Values:
    """What the form of a new client shows first."""
    return shown_by(CLIENT_FIELDS, ClientDocument.model_construct(client_name="").model_dump(mode="json")) | {
        "scope": "openid profile email",
        "token_endpoint_auth_method": "client_secret_basic",
        "access_token_format": "jwt",
        "grant_authorization_code": "1",
        **dict.fromkeys(_CLIENT_SWITCHES, "1"),
    }


def provider_members(
    preset: Preset, form: Mapping[str, str], known: ProviderView | None = None
) -> dict[str, JsonValue]:
    """The members of a provider that a form says. An empty secret or upload changes nothing.

    known: as it was; the form shows the names of its group synchronisation, and not its rules.
    """
    members: dict[str, JsonValue] = {"preset": preset.preset, "display_name": form.get("display_name")}
    members["order"] = _number(form.get("order")) or 0
    members |= {name: name in form for name in _PROVIDER_SWITCHES}
    members |= {name: form.get(name) for name in _PROVIDER_PEOPLE}
    members["allowed_email_domains"] = list(form.get("allowed_email_domains", "").replace(",", " ").split())
    members["group_sync"] = _group_sync(form, known)
    for field in preset.fields:
        if field.name in form or not _keeps(field):
            members[field.name] = _member(field, form)
    return members if preset.kind == "saml" else members | exchange_members(form)


def _group_sync(form: Mapping[str, str], known: ProviderView | None) -> JsonValue:
    stored = known.group_sync.model_dump(mode="json") if known is not None and known.group_sync is not None else {}
    sync = stored | {"pattern": form.get("group_pattern"), "names": map_of(form.get("group_names", ""))}
    return sync if any(sync.values()) else None


def _keeps(field: PresetField) -> bool:
    """Whether leaving the control empty leaves what is stored, which the form does not show."""
    return field.kind in {"secret", "key"} or field.name == "metadata_xml"


def _member(field: PresetField, form: Mapping[str, str]) -> JsonValue:
    match field.kind:
        case "list":
            return list(form.get(field.name, "").replace(",", " ").split())
        case "map":
            return map_of(form[field.name]) if field.name in form else None
        case "number":
            return _number(form.get(field.name))
        case "switch" if field.default is not None:
            return field.name in form
        case "switch":
            return {"yes": True, "no": False}.get(form.get(field.name, ""))
        case _:
            return form.get(field.name)


def provider_values(preset: Preset, provider: ProviderView) -> Values:
    """What the form of an existing provider shows; never its secret."""
    values = {"id": provider.id, "display_name": provider.display_name, "order": str(provider.order)}
    values |= {name: "1" for name in _PROVIDER_SWITCHES if getattr(provider, name)}
    values |= {name: getattr(provider, name) or "" for name in _PROVIDER_PEOPLE}
    values["allowed_email_domains"] = " ".join(provider.allowed_email_domains)
    if provider.group_sync is not None:
        values["group_pattern"] = provider.group_sync.pattern or ""
        values["group_names"] = lines_of(provider.group_sync.names)
    if isinstance(provider, OAuthDocument):
        values |= exchange_values(keep_tokens=provider.keep_tokens, exchange=provider.exchange)
    return values | _shown(preset, {field.name: _stored(preset, field, provider) for field in preset.fields})


def _stored(preset: Preset, field: PresetField, provider: ProviderView) -> object:
    """What a provider has of a field; nothing where the preset made it of others, so that it follows them."""
    if field.name in preset.own:
        return provider.parameters.get(field.name)
    if field.name in preset.derived and field.name in provider.filled:
        return None
    return getattr(provider, field.name, None)


def new_provider_values(preset: Preset) -> Values:
    """What the form of a new provider shows first."""
    named = {"id": preset.preset, "display_name": preset.display_name}
    values = {**named, "order": "0", **dict.fromkeys(_PROVIDER_SWITCHES, "1")}
    return values | _shown(preset, {field.name: field.default for field in preset.fields})


def _shown(preset: Preset, members: Mapping[str, object]) -> Values:
    """Members as the form's controls show them."""
    values: Values = {}
    for field in preset.fields:
        match members[field.name]:
            case bool() as on if field.default is None:
                values[field.name] = "yes" if on else "no"
            case bool() as on:
                values |= {field.name: "1"} if on else {}
            case tuple() | list() as several:
                values[field.name] = ("" if field.kind == "long" else " ").join(str(each) for each in several)
            case dict() as pairs:
                values[field.name] = lines_of(pairs)
            case None:
                values[field.name] = ""
            case value:
                values[field.name] = str(value)
    return values


def lines_of(pairs: Mapping[str, object]) -> str:
    """Lines of `name = value`."""
    return "\n".join(f"{name} = {_said(value)}" for name, value in pairs.items())


def _said(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, tuple | list) else str(value)


def items_of(text: str) -> list[JsonValue]:
    """What stands in the lines, but in empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def map_of(text: str) -> JsonValue:
    """Lines of `name = value`."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def errors_of(invalid: ValidationError) -> Errors:
    """What is wrong, by the form's field; "" for what concerns several."""
    found: Errors = {}
    for problem in invalid.errors(include_input=False, include_url=False):
        message = str(problem["msg"]).removeprefix("Value error, ")
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if not field and ": " in message:  # a rule over several members begins with the one that has to change
            field, message = message.split(": ", 1)
        found.setdefault(CONTROLS.get(field, field), message)
    return found


# Members that the form says with other controls.
CONTROLS: Final = {
    "grant_types": "grant_authorization_code",
    "group_sync": "group_pattern",
    "role_mapping": "default_role",
    "exchange": "exchange_way",
}


def _number(text: str | None) -> JsonValue:
    """The number, or the text itself, which the document then refuses with its own words."""
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
