"""Base64url without padding, for compact JOSE segments."""

import binascii
from typing import Final

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# The standard alphabet and padding become "!", which the decoder refuses.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING: Final = (b"", b"", b"==", b"=")
# What the last character may be when it carries fewer than six bits, by the length of the segment modulo four.
_LAST: Final = (frozenset(_ALPHABET), frozenset[int](), frozenset(_ALPHABET[::16]), frozenset(_ALPHABET[::4]))


def b64url(data: bytes) -> bytes:
    """The bytes as a segment. Spec: RFC 7515 2."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=")


def b64url_decode(segment: bytes) -> bytes:
    """The bytes of a segment. Raises ValueError for anything that `b64url` would not have written.

    One value has one spelling: padding, the standard alphabet and stray low bits are refused, so that a token cannot be
    respelled into one that looks new.
    """
    if not segment:
        return b""
    over = len(segment) & 3
    if segment[-1] not in _LAST[over]:
        raise ValueError("not canonical base64url")
    return binascii.a2b_base64(segment.translate(_FROM_URL) + _PADDING[over], strict_mode=True)
