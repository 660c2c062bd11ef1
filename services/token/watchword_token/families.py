"""Refresh tokens as strings: made, recognised and continued.

A token is `<gid>.<secret>`. The secret is 64 characters: sequence number (4 bytes), 32 bytes that only its receiver and
this service can know, and a tag (12 bytes) under a derived key. The tag tells a token that was once ours from a guess:
a replaced token that comes back ends its family, but who only knows a gid (it stands in access tokens) can end nothing.
Each successor follows from the token before it, so that a retry gets the same answer without anything being stored.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from watchword_events.names import GrantId
from watchword_token.encoding import b64url, b64url_decode

_SEQ: Final = 4
_BODY: Final = 32
_TAG: Final = 12
_SECRET_CHARS: Final = 64
_GID_CHARS: Final = 36
_LENGTH: Final = _GID_CHARS + 1 + _SECRET_CHARS


class RefreshToken(NamedTuple):
    """One token of a family. hash: the SHA-256 that is stored."""

    gid: GrantId
    seq: int
    text: str
    hash: bytes


class Families:
    """Makes and recognises the refresh tokens of this installation."""

    def __init__(self, key: bytes) -> None:
        """key: the derived key for the purpose "refresh"."""
        self._successor_mac = _keyed(key, b"successor")
        self._tag_mac = _keyed(key, b"tag")

    def first(self, gid: GrantId) -> RefreshToken:
        """The first token of a new family."""
        return self._token(gid, 1, secrets.token_bytes(_BODY))

    def successor(self, token: RefreshToken) -> RefreshToken:
        """The one token that follows another, the same each time it is asked for."""
        seq = token.seq + 1
        return self._token(token.gid, seq, self._successor_mac(b"%d.%b" % (seq, token.text.encode())))

    def read(self, text: str) -> RefreshToken | None:
        """The token, if it was made here; None for anything else. Whether it is still good is for the table to say."""
        if len(text) != _LENGTH or text[_GID_CHARS] != ".":
            return None
        try:
            raw = b64url_decode(text[_GID_CHARS + 1 :].encode("ascii"))
        except ValueError:
            return None
        gid = text[:_GID_CHARS]
        if not hmac.compare_digest(raw[-_TAG:], self._tag(gid, raw[:-_TAG])):
            return None
        seq = int.from_bytes(raw[:_SEQ], "big")
        return RefreshToken(GrantId(gid), seq, text, hashlib.sha256(text.encode()).digest())

    def _token(self, gid: GrantId, seq: int, body: bytes) -> RefreshToken:
        signed = seq.to_bytes(_SEQ, "big") + body
        text = f"{gid}.{b64url(signed + self._tag(gid, signed)).decode()}"
        return RefreshToken(gid, seq, text, hashlib.sha256(text.encode()).digest())

    def _tag(self, gid: str, signed: bytes) -> bytes:
        return self._tag_mac(gid.encode() + signed)[:_TAG]


def _keyed(key: bytes, purpose: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 under a key of its own. It is set up once: that costs as much as a short message does."""
    ready = hmac.new(hmac.digest(key, purpose, "sha256"), digestmod="sha256")

    def mac(message: bytes) -> bytes:
        own = ready.copy()
        own.update(message)
        return own.digest()

    return mac
