"""Base64url without padding, for compact JOSE segments."""

import binascii
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


def b64url(data: bytes) -> bytes:
    """The bytes as a segment. Spec: RFC 7515 2."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=")


def b64url_decode(segment: bytes) -> bytes:
    """The bytes of a segment. Raises ValueError for anything that `b64url` would not have written.

    One value has one spelling: padding, the standard alphabet and stray low bits are refused, so that a token cannot be
    respelled into one that looks new.
    """
    if b"+" in segment or b"/" in segment or b"=" in segment:
        raise ValueError("not base64url")
    data = binascii.a2b_base64(segment.translate(_FROM_URL) + b"==="[: -len(segment) % 4], strict_mode=True)
    if len(segment) % 4 and b64url(data) != segment:
        raise ValueError("not canonical base64url")
    return data
