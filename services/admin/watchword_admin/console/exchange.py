"""A provider's form, as far as it is about its people's tokens: who gets them, and in exchange for what."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from watchword_admin.token_exchange_documents import TokenExchange

_TEXTS: Final = ("client_id", "token_endpoint", "private_key_id", "client_assertion_audience")
_METHOD: Final = "token_endpoint_auth_method"
_CLIENTS: Final = {"audiences": "exchange_clients", "scopes": "exchange_scopes"}
_IS: Final = " = "  # with spaces: an application's id may be an address that holds the sign itself
_SECRETS: Final = ("exchange_client_secret", "exchange_private_key")


def exchange_members(form: Mapping[str, str]) -> dict[str, JsonValue]:
    """The members that the form says. An empty secret changes nothing, where there is one at all."""
    members: dict[str, JsonValue] = {"keep_tokens": "keep_tokens" in form, "exchange": None}
    method = None
    if way := form.get("exchange_way"):
        method = form.get(f"exchange_{_METHOD}") or None
        texts: dict[str, JsonValue] = {name: form.get(f"exchange_{name}") or None for name in _TEXTS}
        # An ID-JAG is made of no other token.
        user_token = "id_token" if way == "id_jag" else form.get("exchange_user_token") or "access_token"
        exchange = {"way": way, "user_token": user_token, _METHOD: method, "clients": _clients(form), **texts}
        members["exchange"] = exchange
    typed: dict[str, JsonValue] = {name: form[name] for name in _SECRETS if form.get(name)}
    no_secret: dict[str, JsonValue] = {} if method not in {None, "none"} else {_SECRETS[0]: None}
    return members | (typed or no_secret)


def _clients(form: Mapping[str, str]) -> list[JsonValue]:
    """Lines of `application = service` and of `application = scope`; an application may stand alone."""
    found: dict[str, dict[str, list[JsonValue]]] = {}
    for member, control in _CLIENTS.items():
        for line in form.get(control, "").splitlines():
            client_id, _, value = (each.strip() for each in line.partition(_IS))
            if client_id:
                client = found.setdefault(client_id, {name: [] for name in _CLIENTS})
                client[member] += [value] if value else []
    return [{"client_id": client_id, **client} for client_id, client in found.items()]


def exchange_values(*, keep_tokens: bool, exchange: TokenExchange | None) -> dict[str, str]:
    """What the form shows of them; never a secret."""
    values = {"keep_tokens": "1"} if keep_tokens else {}
    if exchange is None:
        return values
    values |= {f"exchange_{name}": getattr(exchange, name) or "" for name in ("way", "user_token", _METHOD, *_TEXTS)}
    audiences, scopes = [], []
    for each in exchange.clients:
        audiences += [f"{each.client_id}{_IS}{name}" for name in each.audiences] or [each.client_id]
        scopes += [f"{each.client_id}{_IS}{name}" for name in each.scopes]
    return values | {"exchange_clients": "\n".join(audiences), "exchange_scopes": "\n".join(scopes)}
