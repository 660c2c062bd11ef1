"""Time-based one-time passwords, as authenticator apps make them. Spec: RFC 6238 4.2; RFC 4226 5.3.

SHA-1, six digits and half a minute are what every app understands; the secret has the 160 bits of RFC 4226 4.
"""

import hmac
import secrets
from base64 import b32encode
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

DIGITS: Final = 6
PERIOD_S: Final = 30
SECRET_BYTES: Final = 20
_DRIFT: Final = 1  # steps that the clock of a phone may be off, either way (RFC 6238 5.2)


def new_secret() -> bytes:
    """20 random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def step_at(now: datetime) -> int:
    """The number of the time step. Spec: RFC 6238 4.2."""
    return int(now.timestamp()) // PERIOD_S


def code_at(secret: bytes, step: int) -> str:
    """The six digits of a step. Spec: RFC 4226 5.3."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, code: str, now: datetime) -> int | None:
    """The newest step, at most one off, whose code this is; None when it is wrong. Spec: RFC 6238 5.2, 6."""
    current, typed = step_at(now), code.encode()
    steps = range(current - _DRIFT, current + _DRIFT + 1)
    fitting = [step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), typed)]
    return max(fitting, default=None)


def spelled(secret: bytes) -> str:
    """The secret for typing: base32 in groups of four."""
    text = b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def enrolment_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """What the QR code says. issuer and account: under which the app lists it."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    query = {"secret": b32encode(secret).decode(), "issuer": issuer, "digits": DIGITS, "period": PERIOD_S}
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"
