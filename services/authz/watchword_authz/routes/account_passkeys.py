"""`/account/passkeys`: a person's passkeys, and the making of a new one, which needs JavaScript."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import credentials, notices, own_calls, passkey_store, passkeys, store
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.models import Passkey
from watchword_authz.routes import visitors
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database.engine import Session, transaction
from watchword_runtime.calls import Document
from watchword_runtime.internal import Unreachable
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/passkeys"
_WRONG: Final = Text("Your device made no passkey that can be used here. Try again, perhaps with another device.")
_LAST: Final = Text("This passkey is your only way in. Set a password, add another passkey or link a provider first.")
_FULL: Final = Text("You have %(count)s passkeys, and more are not kept. Remove one first.", count=passkeys.MOST)
_MAX_ID: Final = 2048


def router(context: Context) -> APIRouter:
    """As the other credentials: after a sign-in of a moment ago."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_passkeys, summary="A person's passkeys", is_guarded=True)
    pages.take(_PATH, change_own_passkeys, summary="Add a passkey, or remove one", is_guarded=True)
    return api


async def show_own_passkeys(context: Context, request: Request, visitor: Visitor) -> Response:
    """The list, and the form for a new one."""
    return await _page(context, request, visitor)


async def change_own_passkeys(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """One more passkey, or one less."""
    if "remove" in form:
        return await _remove(context, request, visitor, form)
    try:
        made = await passkeys.enrol(
            context,
            visitor.user,
            form.get("credential", ""),
            form.get("challenge", ""),
            form.get("name", ""),
            visitor.session.id,
            visitor.secret,
        )
    except passkeys.TooMany:
        return await _page(context, request, visitor, error=_FULL)
    if made is None:
        return await _page(context, request, visitor, error=_WRONG)
    return see_other(context, "/account?done=passkey")


async def _page(context: Context, request: Request, visitor: Visitor, error: str | None = None) -> Response:
    async with transaction(context.database) as session:
        own = await passkey_store.list_passkeys(session, visitor.user.id)
    return visitors.render(
        context,
        request,
        visitor,
        "account_passkeys.html",
        _PATH,
        status=400 if error else 200,
        scripts=True,
        action=_PATH,
        error=error,
        own=[(_name(each), each) for each in own],
        full=_FULL if len(own) >= passkeys.MOST else None,
        ceremony=passkeys.making(context, visitor.user, own, visitor.session.id, visitor.secret),
    )


async def _remove(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """The passkey is gone, unless nobody could sign in as this person without it."""
    user_id, credential_id = visitor.user.id, _id_of(form["remove"][:_MAX_ID])
    has_provider = False
    async with transaction(context.database) as session:
        own = await passkey_store.list_passkeys(session, user_id)
        is_last = await _is_last(context, session, user_id, own, credential_id)
    if is_last:
        has_provider = await _has_provider(context, visitor)
    async with transaction(context.database) as session:
        # Of two that are removed at the same time the second one is looked at when the first is gone.
        own = await passkey_store.hold_passkeys(session, user_id)
        is_kept = not has_provider and await _is_last(context, session, user_id, own, credential_id)
        if not is_kept and await passkey_store.delete_passkey(session, user_id, credential_id):
            credentials.announce(session, user_id, "passkey", context.now())
            await notices.tell(context, session, visitor.user, "passkey")
    if is_kept:
        return await _page(context, request, visitor, error=_LAST)
    context.mails.look()
    log.info("passkey.removed", user_id=user_id)
    return see_other(context, "/account?done=passkey-removed")


async def _is_last(
    context: Context, session: Session, user_id: str, own: Sequence[Passkey], credential_id: bytes
) -> bool:
    """Whether no other passkey and no password is left without this one. own: the person's passkeys."""
    has_password = context.settings.local_passwords and await store.find_credential(session, user_id) is not None
    return [each.credential_id for each in own] == [credential_id] and not has_password


async def _has_provider(context: Context, visitor: Visitor) -> bool:
    """Whether an identity leads to the person; while directory cannot be asked, none is known to."""
    try:
        return bool(await own_calls.read_all(context, visitor, "identities", Document, most=1))
    except Unreachable:
        return False


def _name(passkey: Passkey) -> str:
    return urlsafe_b64encode(passkey.credential_id).decode().rstrip("=")


def _id_of(name: str) -> bytes:
    try:
        return urlsafe_b64decode(name + "=" * (-len(name) % 4))
    except ValueError:
        return b""
