"""Remembered devices: browsers in which the second factor was proved, and is not asked for again for a while.

The cookie holds a secret, of which a hash is stored, so that a device can be forgotten. It stands in for the second
factor of a sign-in; whoever changes a credential, or is asked for more by an application, proves it anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from fastapi import Request, Response
from sqlalchemy import delete, update
from sqlmodel import col, select

from watchword_authz.context import Context
from watchword_authz.models import RememberedDevice
from watchword_database import bus
from watchword_database.engine import Session
from watchword_database.ids import new_id
from watchword_database.turns import take_turn

MOST: Final = 20  # of one person: a browser that forgets its cookies leaves another behind each time
_MAX_USER_AGENT = 200


def _cookie_name(context: Context) -> str:
    return context.cookies.session_name.replace("ww-session", "ww-remembered")


async def remember(context: Context, session: Session, request: Request, user_id: str, *, address: str) -> str | None:
    """The secret for the cookie of this device; None where none are remembered. The oldest ones are forgotten."""
    life, now = context.settings.remember_device, context.now()
    if not life:
        return None
    secret = token_urlsafe(32)
    await take_turn(session, f"authz.remembered_devices.{user_id}")
    older = (
        select(RememberedDevice.id)
        .where(RememberedDevice.user_id == user_id)
        .order_by(col(RememberedDevice.created_at).desc())
        .offset(MOST - 1)
    )
    await session.exec(delete(RememberedDevice).where(col(RememberedDevice.id).in_(older)))
    session.add(
        RememberedDevice(
            id=new_id(),
            user_id=user_id,
            secret_hash=bus.ticket_hash(secret),
            user_agent=request.headers.get("user-agent", "")[:_MAX_USER_AGENT],
            address=address,
            created_at=now,
            used_at=now,
            expires_at=now + life,
        )
    )
    return secret


def set_cookie(context: Context, response: Response, secret: str) -> None:
    """The browser has the secret."""
    response.set_cookie(
        _cookie_name(context),
        secret,
        max_age=int((context.settings.remember_device or timedelta()).total_seconds()),
        path=context.settings.base_path or "/",
        secure=context.settings.secure,
        httponly=True,
        samesite="lax",
    )


async def claim_use(context: Context, session: Session, request: Request, user_id: str) -> bool:
    """Whether the second factor of this person was proved in this browser, not too long ago; the use is noted."""
    secret, now = request.cookies.get(_cookie_name(context), ""), context.now()
    result = await session.exec(
        update(RememberedDevice)
        .where(
            col(RememberedDevice.secret_hash) == bus.ticket_hash(secret),
            col(RememberedDevice.user_id) == user_id,
            col(RememberedDevice.expires_at) > now,
        )
        .values(used_at=now)
    )
    return result.rowcount == 1


async def list_devices(session: Session, user_id: str, now: datetime) -> Sequence[RememberedDevice]:
    """A person's that are still remembered, the newest first."""
    found = await session.exec(
        select(RememberedDevice)
        .where(RememberedDevice.user_id == user_id, RememberedDevice.expires_at > now)
        .order_by(col(RememberedDevice.created_at).desc())
    )
    return found.all()


async def forget(session: Session, user_id: str, device_id: str) -> None:
    """One of the person's devices is not remembered any more."""
    await session.exec(
        delete(RememberedDevice).where(col(RememberedDevice.user_id) == user_id, col(RememberedDevice.id) == device_id)
    )
