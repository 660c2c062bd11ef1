"""The credentials in a request: read, not yet believed."""

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

from watchword_runtime.client_assertions import TYPE, NotProved, client_named_in
from watchword_runtime.client_proofs import Way
from watchword_web.errors import OAuthError, invalid_client


class Credentials(NamedTuple):
    """Who a request says it is from, and how it proves that. secret: a secret, an assertion or nothing."""

    client_id: str
    secret: str
    way: Way


def read_credentials(authorization: bytes | None, form: Mapping[str, str]) -> Credentials:
    """The one set of client credentials in a request.

    Raises OAuthError: invalid_client when there are none or they cannot be read, invalid_request for two methods at
    once or two names. Spec: RFC 6749 2.3, 2.3.1, 3.2.1.
    """
    named, posted, assertion = form.get("client_id"), form.get("client_secret"), form.get("client_assertion")
    if (authorization is not None) + (posted is not None) + (assertion is not None) > 1:
        # RFC 6749 2.3: a client must not use more than one authentication method per request.
        raise OAuthError("invalid_request", "More than one way of client authentication was used")
    if authorization is not None:
        client_id, secret = _read_basic(authorization)
        return Credentials(_same(named, client_id), secret, "client_secret_basic")
    if assertion is not None:
        return Credentials(_same(named, _read_assertion(assertion, form)), assertion, "client_assertion")
    if named is None:
        raise invalid_client("no credentials")
    if posted is not None:
        return Credentials(named, posted, "client_secret_post")
    return Credentials(named, "", "none")


def _same(named: str | None, client_id: str) -> str:
    if named is not None and named != client_id:
        raise OAuthError("invalid_request", "client_id is not the client that authenticates")
    return client_id


def _read_assertion(assertion: str, form: Mapping[str, str]) -> str:
    """Whom a client assertion is about. Spec: RFC 7521 4.2; RFC 7523 2.2."""
    if form.get("client_assertion_type") != TYPE:
        raise invalid_client("client_assertion_type")
    try:
        return client_named_in(assertion)
    except NotProved as error:
        raise invalid_client(str(error)) from None


def _read_basic(authorization: bytes) -> tuple[str, str]:
    """Name and secret, each urlencoded before they were joined. Spec: RFC 6749 2.3.1; RFC 7617 2."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise invalid_client("not Basic")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_client("Basic cannot be read") from None
    name, colon, secret = decoded.partition(":")
    if not colon or not name:
        raise invalid_client("Basic without a name")
    if "%" in decoded or "+" in decoded:
        try:
            name, secret = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
        except UnicodeDecodeError:
            raise invalid_client("Basic cannot be read") from None
    if "\x00" in name or "\x00" in secret:  # PostgreSQL, where the name is looked up, stores none
        raise invalid_client("Basic with a NUL")
    return name, secret
