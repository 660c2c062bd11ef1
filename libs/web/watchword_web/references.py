"""The reference id of a request: what an error shows to a person and what every log line of the request carries."""

import base64
import secrets

import structlog
from starlette.types import Scope

_KEY = "watchword.reference"


def reference_of(scope: Scope) -> str:
    """The request's reference, for example `K7QM-3XWA`; made, and bound to the log context, when first asked for."""
    reference: str | None = scope.get(_KEY)
    if reference is None:
        text = base64.b32encode(secrets.token_bytes(5)).decode()
        reference = scope[_KEY] = f"{text[:4]}-{text[4:]}"
        structlog.contextvars.bind_contextvars(reference=reference)
    return reference
