"""Devices without a browser that ask to be connected: their codes, and who in which browser decides about them.

A user code belongs to the browser in which it was entered first; from then on it is worth nothing elsewhere. It follows
from the request's id, so that a page can show it and the table need not hold it.
"""

import hmac
import re
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_authz.models import DeviceRequest
from watchword_database import bus
from watchword_database.engine import Session
from watchword_database.ids import new_id
from watchword_events.handovers import Approval, DeviceAnswer, DeviceCode
from watchword_policy.details import Details

LIFE: Final = timedelta(minutes=10)
INTERVAL_S: Final = 5
# RFC 8628 6.1: consonants only, so that no code is a word; 8 of 20 letters are 34.5 bits.
_ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
_LETTERS: Final = 8
_CODE: Final = re.compile(rf"[{_ALPHABET}]{{{_LETTERS}}}")
_ATTEMPTS: Final = 10  # at a code that no other request has; a second one is needed once in millions
_FRESH: Final = {"populate_existing": True}


def user_code_of(key: bytes, device_id: str) -> str:
    """The code that people type, for example `WDJB-MJHT`. key: of form tokens."""
    number = int.from_bytes(hmac.digest(key, b"user code\0" + device_id.encode(), "sha256"), "big")
    letters = []
    for _ in range(_LETTERS):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    half = _LETTERS // 2
    return f"{''.join(letters[:half])}-{''.join(letters[half:])}"


def read_user_code(typed: str) -> str | None:
    """The code as it was shown, however it was typed; None when it cannot be one.

    Spec: RFC 8628 6.1 (case and punctuation do not matter).
    """
    letters = re.sub(r"[\s\W_]+", "", typed).upper()
    half = _LETTERS // 2
    return f"{letters[:half]}-{letters[half:]}" if _CODE.fullmatch(letters) else None


async def begin(
    session: Session,
    *,
    client_id: str,
    scope: frozenset[str],
    resource: tuple[str, ...],
    details: Details,
    address: str,
    key: bytes,
    rev: int,
    now: datetime,
) -> tuple[str, str]:
    """The device code of a new request, and its user code. rev: noted before the client was read.

    address: of the device, for the page. Spec: RFC 8628 3.2, 6.1; RFC 9396 3.
    """
    for _ in range(_ATTEMPTS):
        row = DeviceRequest(
            id=new_id(),
            user_code_hash=b"",
            client_id=client_id,
            scope=sorted(scope),
            resource=list(resource),
            details=[{**detail} for detail in details],
            rev=rev,
            address=address,
            created_at=now,
            expires_at=now + LIFE,
        )
        user_code = user_code_of(key, row.id)
        row.user_code_hash = _hash(key, user_code)
        result = await session.exec(insert(DeviceRequest).values(row.model_dump()).on_conflict_do_nothing())
        if result.rowcount == 1:
            waiting = DeviceCode(device_id=row.id, client_id=client_id, interval_s=INTERVAL_S, rev=rev)
            return await bus.hand_over(session, waiting, flow=row.id, now=now, ttl=LIFE), user_code
    raise RuntimeError("no free user code")


async def find(session: Session, device_id: str) -> DeviceRequest | None:
    """A request, however old."""
    return await session.get(DeviceRequest, device_id)


async def find_by_code(session: Session, user_code: str, *, key: bytes, now: datetime) -> DeviceRequest | None:
    """The request with this user code that waits for a decision, entered before or not."""
    found = await session.exec(
        select(DeviceRequest).where(
            DeviceRequest.user_code_hash == _hash(key, user_code),
            col(DeviceRequest.decided_at).is_(None),
            DeviceRequest.expires_at > now,
        )
    )
    return found.one_or_none()


async def claim(session: Session, device_id: str, *, flow_id: str, now: datetime) -> bool:
    """True when nobody had entered the code before: it belongs to this flow, and so to one browser, from now on."""
    result = await session.exec(
        update(DeviceRequest)
        .where(
            col(DeviceRequest.id) == device_id,
            col(DeviceRequest.flow_id).is_(None),
            col(DeviceRequest.decided_at).is_(None),
            col(DeviceRequest.expires_at) > now,
        )
        .values(flow_id=flow_id)
    )
    return result.rowcount == 1


async def decide(
    session: Session, device_id: str, *, flow_id: str, approval: Approval | None, keep: timedelta, now: datetime
) -> bool:
    """True when this flow's browser decided now, once and in time; the device learns it when it next asks.

    approval: None when it was not allowed.  keep: how long the answer stays behind its expiry.
    """
    result = await session.exec(
        update(DeviceRequest)
        .where(
            col(DeviceRequest.id) == device_id,
            col(DeviceRequest.flow_id) == flow_id,
            col(DeviceRequest.decided_at).is_(None),
            col(DeviceRequest.expires_at) > now,
        )
        .values(decided_at=now)
        .returning(DeviceRequest),
        execution_options=_FRESH,
    )
    row = result.scalar_one_or_none()
    if row is None:
        return False
    await bus.hand_over(
        session, DeviceAnswer(approval=approval), flow=row.id, now=now, ttl=row.expires_at - now, keep=keep
    )
    return True


def lineage(row: DeviceRequest) -> dict[str, object]:
    """What the ledger compares of a request."""
    return {"rev": row.rev, "iat": row.created_at.timestamp(), "client_id": row.client_id}


def _hash(key: bytes, user_code: str) -> bytes:
    """Keyed, because 34.5 bits could be found by trying."""
    return hmac.digest(key, b"user code hash\0" + user_code.encode(), "sha256")
