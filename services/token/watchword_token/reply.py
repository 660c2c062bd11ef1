"""Answers of hot endpoints that are more than JSON."""

from typing import NamedTuple


class Reply(NamedTuple):
    """A body with its type, and headers beside the usual ones."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: bytes = b"application/json"
