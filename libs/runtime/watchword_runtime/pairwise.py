"""Pairwise subjects: what a person is called towards the clients of one sector, and by no other."""

import hmac
from base64 import urlsafe_b64encode
from typing import Final

PURPOSE: Final = "pairwise-subjects"


def pairwise_subject(key: bytes, sector: str, user_id: str) -> str:
    """The `sub` of a person for a sector: always the same, and nobody without the key can tell whose.

    key: the derived key for PURPOSE.  sector: a host. Spec: OpenID Connect Core 8.1.
    """
    digest = hmac.digest(key, sector.encode() + b"\0" + user_id.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
