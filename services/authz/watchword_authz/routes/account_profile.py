"""`/account/profile`: what a person says of themselves. `directory` owns it."""

from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import own_calls
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_runtime.calls import Document, Refused
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/profile"
_WRONG: Final = Text("This is not accepted here.")
# In the order of the form; each with what browsers fill in by themselves.
FIELDS: Final[Mapping[str, tuple[Text, str]]] = {
    "name": (Text("Name"), "name"),
    "given_name": (Text("Given name"), "given-name"),
    "family_name": (Text("Family name"), "family-name"),
    "nickname": (Text("Nickname"), "nickname"),
    "website": (Text("Website"), "url"),
    "picture": (Text("Address of a picture"), "photo"),
    "locale": (Text("Language, for example en or de-AT"), "language"),
    "zoneinfo": (Text("Time zone, for example Europe/Vienna"), "off"),
}


class OwnAccount(Document):
    """The person as `directory` shows them to themselves."""

    username: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    nickname: str | None = None
    website: str | None = None
    picture: str | None = None
    locale: str | None = None
    zoneinfo: str | None = None
    locked: tuple[str, ...] = ()
    may_delete: bool = False


def router(context: Context) -> APIRouter:
    """The form of the profile."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_profile, summary="What a person says of themselves")
    pages.take(_PATH, change_own_profile, summary="Change one's own profile")
    return api


async def show_own_profile(context: Context, request: Request, visitor: Visitor) -> Response:
    """What stands there, as a form; what another system looks after cannot be typed into."""
    return await _profile_page(context, request, visitor)


async def change_own_profile(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """What differs is changed; an empty field removes what stood there."""
    own = await own_calls.read(context, visitor, "account", OwnAccount)
    typed = {name: form[name].strip() or None for name in FIELDS if name in form}
    changes = {name: value for name, value in typed.items() if value != getattr(own, name)}
    if (zone := changes.get("zoneinfo")) and visitors.find_zone(zone) is None:
        return await _profile_page(context, request, visitor, typed=typed, errors={"zoneinfo": _WRONG})
    try:
        await own_calls.send(context, visitor, "PATCH", "account", changes)
    except Refused as refused:
        return await _profile_page(context, request, visitor, typed=typed, errors=dict.fromkeys(refused.errors, _WRONG))
    log.info("account.profile_changed", user_id=visitor.user.id, fields=sorted(changes))
    return see_other(context, f"{_PATH}?done=profile")


async def _profile_page(
    context: Context,
    request: Request,
    visitor: Visitor,
    *,
    typed: Mapping[str, str | None] | None = None,
    errors: Mapping[str, Text] | None = None,
) -> Response:
    own = await own_calls.read(context, visitor, "account", OwnAccount)
    values = own.model_dump() | dict(typed or {})
    return visitors.render(
        context,
        request,
        visitor,
        "account_profile.html",
        _PATH,
        status=400 if errors else 200,
        own=own,
        fields=[(name, *FIELDS[name], values[name] or "", name in own.locked) for name in FIELDS],
        errors=errors or {},
    )
