"""`/account/activity`: a person's own sign-ins and changes, out of the audit log, which `admin` serves."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from watchword_authz import own_calls
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.visitors import AccountPages
from watchword_runtime.calls import Document
from watchword_web.devices import device_of
from watchword_web.forms import read_query
from watchword_web.texts import Text

_PATH: Final = "/account/activity"
_ROWS: Final = "50"
# What people are told; other actions are shown by their names.
WORDS: Final = {
    "sign_in.succeeded": Text("Signed in"),
    "sign_in.refused": Text("A sign-in failed"),
    "sign_in.throttled": Text("A sign-in was held back after too many attempts"),
    "factor.refused": Text("A wrong code was entered"),
    "factor.throttled": Text("A code was held back after too many attempts"),
    "session.started": Text("A session began"),
    "session.ended": Text("A session ended"),
    "session.updated": Text("A session changed"),
    "credential.changed": Text("A way to sign in changed"),
    "account.locked": Text("The account was locked for a while"),
    "consent.granted": Text("An application was allowed to use the account"),
    "consent.withdrawn": Text("An application was withdrawn"),
    "identity.linked": Text("A provider was linked"),
    "identity.unlinked": Text("A provider was unlinked"),
    "api_key.created": Text("An API key was made"),
    "api_key.revoked": Text("An API key was revoked"),
    "api_key.updated": Text("An API key changed"),
    "user.created": Text("The account was made"),
    "user.updated": Text("The account changed"),
    "revocation.created": Text("Sessions or tokens were ended"),
    "assignment.created": Text("A role was given"),
    "assignment.deleted": Text("A role was taken away"),
    "membership.created": Text("The account was put into a group"),
    "membership.deleted": Text("The account was taken out of a group"),
}


class Activity(Document):
    """An entry as `admin` shows it to the person whom it concerns."""

    seq: int
    at: datetime
    action: str
    is_own: bool
    via: str | None = None
    client_id: str | None = None
    address: str | None = None
    user_agent: str | None = None
    fields: tuple[str, ...] = ()


def router(context: Context) -> APIRouter:
    """The list, a page at a time."""
    api = APIRouter(tags=["account"])
    AccountPages(api, context).show(_PATH, show_own_activity, summary="A person's own sign-ins and changes")
    return api


async def show_own_activity(context: Context, request: Request, visitor: Visitor) -> Response:
    """The newest first, in the person's time zone."""
    cursor = read_query(request).get("cursor", "")
    found = await own_calls.read_page(context, visitor, "activity", Activity, cursor=cursor, limit=_ROWS)
    return visitors.render(
        context,
        request,
        visitor,
        "account_activity.html",
        _PATH,
        where=await context.places.find(each.address for each in found.items if each.address),
        entries=[(WORDS.get(each.action, each.action), _device(each), each) for each in found.items],
        following=f"{_PATH}?{urlencode({'cursor': found.next})}" if found.next else None,
    )


def _device(entry: Activity) -> str | None:
    return device_of(entry.user_agent) if entry.user_agent else None
