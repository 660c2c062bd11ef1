"""Known devices: a mark in a browser where somebody signed in with a password before.

It proves nothing but that. Whoever holds one has a throttle counter of their own for that account, so that strangers
who guess at the account cannot lock its owner out (throttle.py).
"""

import re
from datetime import timedelta
from secrets import token_urlsafe
from typing import Final

from fastapi import Request, Response

from watchword_authz.context import Context
from watchword_web.csrf import check_form_token, form_token

_LIFE: Final = timedelta(days=180)
_MARK: Final = re.compile(r"(?P<nonce>[\w-]{22})\.(?P<mac>[\w-]{43})", re.ASCII)


def _cookie_name(context: Context) -> str:
    return context.cookies.session_name.replace("ww-session", "ww-device")


def known_device(context: Context, request: Request, user_id: str) -> str | None:
    """The subject of the device's own throttle counter; None when this user never signed in on the device."""
    mark = _MARK.fullmatch(request.cookies.get(_cookie_name(context), ""))
    if mark is None or not check_form_token(context.forms_key, mark["mac"], "device", user_id, mark["nonce"]):
        return None
    return f"{user_id} {mark['nonce']}"


def remember_device(context: Context, request: Request, response: Response, user_id: str) -> None:
    """The browser is known for this user from now on, instead of for another."""
    if known_device(context, request, user_id):
        return
    nonce = token_urlsafe(16)
    response.set_cookie(
        _cookie_name(context),
        f"{nonce}.{form_token(context.forms_key, 'device', user_id, nonce)}",
        max_age=int(_LIFE.total_seconds()),
        path=context.settings.base_path or "/",
        secure=context.settings.secure,
        httponly=True,
        samesite="lax",
    )
