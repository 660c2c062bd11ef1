"""What every part of `/api/v1` shares: lists with cursors, and how its errors are described in OpenAPI."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from hashlib import sha256
from typing import Annotated, Generic, TypeVar

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel

from watchword_web.errors import Problem

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_MAC_LENGTH = 16
_MAX_CURSOR = 1024


def _in_utc(value: datetime) -> datetime:
    """The same moment in UTC. Whoever reckons with it stays within the calendar."""
    if not MINYEAR + 1 < value.year < MAXYEAR - 1:
        raise ValueError("must lie between the years 3 and 9997")
    return value.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Page(BaseModel, Generic[T]):
    """One page of a list. next: the cursor of the following page, null on the last."""

    items: list[T]
    next: str | None = None


class ProblemField(BaseModel):
    """One thing that is wrong with a request."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None


class ProblemDocument(BaseModel):
    """RFC 9457, as documented in OpenAPI; `errors.Problem` is what code raises."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    errors: list[ProblemField] | None = None
    reference: str | None = None


class Cursor:
    """Makes and reads list cursors that only this installation can have made.

    A cursor holds the position of the last item (sort key and id). It is no secret, but it goes into a WHERE clause:
    a forged one is refused before it gets there.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, listing: str, *position: str | int) -> str:
        """The cursor behind an item. listing: what is listed and how (`"clients:name"`); one fits no other listing."""
        body = orjson.dumps(position)
        return urlsafe_b64encode(self._mac(listing, body) + body).decode().rstrip("=")

    def read(self, listing: str, cursor: str) -> tuple[str | int, ...]:
        """The position that `make` was given. Raises Problem 400 for anything that it did not make."""
        if len(cursor) > _MAX_CURSOR:
            raise invalid_cursor()
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise invalid_cursor() from None
        mac, body = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
        if not hmac.compare_digest(mac, self._mac(listing, body)):
            raise invalid_cursor()
        return tuple(orjson.loads(body))

    def _mac(self, listing: str, body: bytes) -> bytes:
        return hmac.digest(self._key, listing.encode() + b"\x00" + body, sha256)[:_MAC_LENGTH]


def invalid_cursor() -> Problem:
    """For one that the list never gave."""
    return Problem(
        400,
        "The cursor is not valid",
        "Use the value of `next` from the page before, unchanged, or leave it out to start again.",
        errors=[{"parameter": "cursor", "detail": "not a cursor of this list"}],
    )
