"""Sectors: which clients share what they call a person. Spec: OpenID Connect Core 8.1."""

from collections.abc import Sequence
from typing import Literal, Protocol
from urllib.parse import urlsplit

FIELD = "sector_identifier_uri"


class Sectored(Protocol):
    """The settings that decide on a client's sector."""

    @property
    def subject_type(self) -> Literal["public", "pairwise"]: ...
    @property
    def sector_identifier_uri(self) -> str | None: ...
    @property
    def redirect_uris(self) -> Sequence[str]: ...


def check_sector(client: Sectored) -> None:
    """A pairwise client has one sector. Raises ValueError with the name of the field that has to change."""
    if client.subject_type == "public":
        if client.sector_identifier_uri is not None:
            raise ValueError(f"{FIELD}: means nothing without subject_type pairwise")
        return
    if client.sector_identifier_uri is None and len(_hosts(client)) != 1:
        raise ValueError(f"{FIELD}: redirect_uris of one host, or an address that lists them all, make a sector")


def sector_of(client: Sectored) -> str | None:
    """The host of the client's sector, None for a client that learns the ids of people."""
    if client.subject_type == "public":
        return None
    if client.sector_identifier_uri is not None:
        return urlsplit(client.sector_identifier_uri).hostname
    return next(iter(_hosts(client)))


def _hosts(client: Sectored) -> set[str]:
    return {urlsplit(uri).hostname or uri for uri in client.redirect_uris}
