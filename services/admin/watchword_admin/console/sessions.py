"""Signing in to the console, as any application signs people in, and the sessions that come of it.

Nothing is stored before the person is back: state and verifier are derived from a cookie that only this browser has.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import orjson
import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_admin import store
from watchword_admin.bootstrap import CALLBACK
from watchword_admin.console.rooms import EVERYWHERE, ROLES, may_follow, roles_of
from watchword_admin.edge import PROVIDER_BODY, Parts
from watchword_admin.models import ConsoleSession
from watchword_database import transaction
from watchword_events.exports import UserExport
from watchword_events.names import Service
from watchword_policy.scopes import ADMIN_SCOPE
from watchword_runtime.access import AccessDenied, Caller
from watchword_runtime.callers import CONSOLE
from watchword_runtime.calls import ask
from watchword_runtime.copies import Copy
from watchword_runtime.internal import InternalClients, Unreachable
from watchword_runtime.keyring import Sealer
from watchword_web import languages
from watchword_web.cookies import Cookies
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.settings import WebSettings
from watchword_web.targets import is_local_path
from watchword_web.texts import Text
from watchword_web.uploads import read_upload

log = structlog.get_logger()

MOST_FIELDS: Final = 100  # of a form, unless it has rows
HOME: Final = "/admin"
_FLOW: Final = "console-"
_LONGEST_PAGE: Final = 512  # with its query: it travels in `state`


class ConsoleCookies(Cookies):
    """The cookies of the console: a session of its own beside the sign-in's."""

    def __init__(self, settings: WebSettings) -> None:
        super().__init__(settings)
        self.session_name = self.session_name.replace("ww-session", "ww-console")


@dataclass(frozen=True, slots=True)
class Visit:
    """An administrator at the console. secret: of the session cookie, which each form's token is bound to.

    token: the access token with which the console calls `/api/v1` for the person.
    """

    user: UserExport
    secret: str = field(repr=False)
    csrf: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def roles(self) -> frozenset[str]:
        """What the person is here."""
        return roles_of(self.user)

    @property
    def is_everywhere(self) -> bool:
        """Whether the person has to do with the whole installation, and not with organizations alone."""
        return not EVERYWHERE.isdisjoint(self.user.roles)

    def may(self, method: str, address: str) -> bool:
        """Whether to show what leads there. The overview is of the whole installation."""
        return (self.is_everywhere or address != HOME) and may_follow(self.roles, method, address)

    @property
    def name(self) -> str:
        """How the person is called."""
        return str(self.user.claims.get("name") or self.user.username)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Signs administrators in and out. key: the service's `forms` key."""

    parts: Parts
    users: Copy[UserExport]
    clients: InternalClients
    cookies: ConsoleCookies
    key: bytes

    async def visit(self, request: Request) -> Visit | None:
        """Who is at the console with this request; None without a live session of somebody who has to do with it.

        The session dies with the sign-in that it came from, with its user, with the role, and by its own times.
        """
        secret = self.cookies.read_session(request)
        if secret is None:
            return None
        self.parts.feed.require()
        now, settings = self.parts.now(), self.parts.settings
        async with transaction(self.parts.database) as session:
            found = await store.find_console_session(
                session, _hash(secret), idle_since=now - settings.console_idle, now=now
            )
        if found is None or found.sealed_token is None or not self.parts.feed.is_live(_lineage(found)):
            return None
        user = await self.users.get(found.user_id)
        if user is None or not user.active or ROLES.isdisjoint(roles_of(user)):
            return None
        languages.prefer(request.scope, of_person=user.locale)
        caller = Caller(user.id, CONSOLE, frozenset({ADMIN_SCOPE}), name=user.username, provider_id=found.idp)
        self.parts.callers.act(caller, request)
        token = self._sealer(secret).open(found.sealed_token, found.secret_hash).decode()
        return Visit(user, secret, form_token(self.key, "console", secret), token)

    async def read_form(self, request: Request, visit: Visit, *, most: int = MOST_FIELDS) -> Params:
        """The form of a request, if a page of this console sent it. most: fields. Raises PageError."""
        form = await read_form(request, PROVIDER_BODY, most)
        self._check(request, visit, form)
        return form

    async def read_upload(self, request: Request, visit: Visit, limit_bytes: int) -> tuple[Params, Mapping[str, bytes]]:
        """The same of a form with files: its texts, and its files. Raises PageError."""
        form, files = await read_upload(request, limit_bytes)
        self._check(request, visit, form)
        return form, files

    def _check(self, request: Request, visit: Visit, form: Params) -> None:
        token = form.get("csrf", "")
        if not same_origin(request, self.parts.settings) or not check_form_token(
            self.key, token, "console", visit.secret
        ):
            raise PageError(
                "invalid_form", "This form is too old", "Go back, load the page again and repeat what you did.", 403
            )

    def begin(self, request: Request) -> Response:
        """To the sign-in, and back to the page that was asked for.

        Spec: OpenID Connect Core 3.1.2.1; RFC 7636 4.3; RFC 9700 2.1.1.
        """
        flow_id = _FLOW + secrets.token_hex(8)
        secret = secrets.token_urlsafe(32)
        wanted = _wanted(request) if request.method == "GET" else HOME
        verifier = form_token(self.key, "verifier", flow_id, secret)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": CONSOLE,
            "redirect_uri": self._redirect_uri,
            "scope": f"openid profile {ADMIN_SCOPE}",
            "state": ".".join((flow_id, _pack(wanted), form_token(self.key, "state", flow_id, secret, wanted))),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        response = RedirectResponse(f"{self.parts.settings.issuer}/oauth2/authorize?{urlencode(query)}", 303)
        self.cookies.set_flow(request, response, flow_id, secret)
        return response

    async def complete(self, request: Request) -> Response:
        """The person is back with a code: a session begins, under a new secret, and its cookie is set.

        Raises PageError. Spec: OpenID Connect Core 3.1.2.5, 3.1.3; RFC 9207 2.4.
        """
        query = read_query(request)
        flow_id, wanted, verifier = self._check_state(request, query.get("state", ""))
        if query.get("iss") != self.parts.settings.issuer:
            raise _failed("the issuer of the response is another")
        if "error" in query:
            raise _failed(f"refused: {query['error'][:64]}")
        token, claims = await self._redeem(query.get("code", ""), verifier)
        secret = secrets.token_urlsafe(32)
        now = self.parts.now()
        opened = ConsoleSession(
            secret_hash=_hash(secret),
            sealed_token=self._sealer(secret).seal(token.encode(), _hash(secret)),
            user_id=str(claims["sub"]),
            sid=_text(claims.get("sid")),
            gid=_text(claims.get("gid")),
            idp=_text(claims.get("idp")),
            rev=_rev(claims),
            created_at=now,
            used_at=now,
            expires_at=min(now + self.parts.settings.console_max, _expiry(claims)),
        )
        async with transaction(self.parts.database) as session:
            await store.put_console_session(session, opened, now=now)
        log.info("console.signed_in", user_id=opened.user_id)
        response = RedirectResponse(f"{self.parts.settings.public_url}{wanted}", 303)
        self.cookies.drop_flow(response, flow_id)
        self.cookies.set_session(response, secret)
        return response

    async def sign_out(self, visit: Visit) -> Response:
        """The console's session is over; the sign-in itself ends at authz, next. Spec: RP-Initiated Logout 1.0 2."""
        async with transaction(self.parts.database) as session:
            await store.drop_console_session(session, _hash(visit.secret))
        log.info("console.signed_out", user_id=visit.user.id)
        public_url = self.parts.settings.public_url
        query = {"client_id": CONSOLE, "post_logout_redirect_uri": f"{public_url}{HOME}/signed-out"}
        response = RedirectResponse(f"{public_url}/oauth2/logout?{urlencode(query)}", 303)
        self.cookies.drop_session(response)
        return response

    @property
    def _redirect_uri(self) -> str:
        return f"{self.parts.settings.public_url}{CALLBACK}"

    def _check_state(self, request: Request, state: str) -> tuple[str, str, str]:
        """Flow, wanted page and PKCE verifier of a sign-in that this very browser began. Raises PageError."""
        flow_id, _, rest = state.partition(".")
        packed, _, mac = rest.partition(".")
        secret = self.cookies.read_flow(request, flow_id) if flow_id.startswith(_FLOW) else None
        wanted = _unpack(packed)
        if secret is None or not check_form_token(self.key, mac, "state", flow_id, secret, wanted):
            raise PageError(
                "wrong_browser",
                "This sign-in was begun elsewhere",
                "It belongs to another browser, has been used, or its cookie is blocked.",
                400,
                detail="state does not fit the cookie",
                retry=HOME,
            )
        return flow_id, wanted, form_token(self.key, "verifier", flow_id, secret)

    def _sealer(self, secret: str) -> Sealer:
        """What seals the one token of one session: nobody opens it without the cookie that only its browser has."""
        return Sealer(hmac.digest(self.key, f"console-token\n{secret}".encode(), "sha256"), 0)

    async def _redeem(self, code: str, verifier: str) -> tuple[str, Mapping[str, object]]:
        """The access token behind the code with its claims, if its person has a role here. Raises PageError."""
        form = {
            "grant_type": "authorization_code",
            "client_id": CONSOLE,
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        answer = await ask(self.clients, self.parts.settings, Service.TOKEN, "POST", "/oauth2/token", data=form)
        try:
            token = str(orjson.loads(answer.content)["access_token"]) if answer.status_code == 200 else ""
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"token: {type(error).__name__}") from error
        if not token:
            raise _failed(f"the code was refused with {answer.status_code}")
        try:
            caller = await self.parts.access.caller({"authorization": f"Bearer {token}"})
            if caller.user_id is not None and ROLES.isdisjoint(caller.roles) and not caller.organizations:
                await self.users.pull([caller.user_id])  # the role may be younger than our copy of the person
                caller = await self.parts.access.caller({"authorization": f"Bearer {token}"})
        except AccessDenied as denied:
            raise _failed("the access token was refused") from denied
        if ROLES.isdisjoint(caller.roles) and not caller.organizations:
            raise PageError(
                "not_an_administrator",
                "The console is for administrators",
                "You are signed in, but your account has no right to administer this installation.",
                403,
                detail="no role here",
                advice=[
                    Text(
                        "Sign out at %(address)s and come back with another account.",
                        address=f"{self.parts.settings.issuer}/oauth2/logout",
                    )
                ],
            )
        # Verified a line above; here it is only read.
        payload = token.split(".")[1]
        claims: dict[str, object] = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return token, claims


def _lineage(found: ConsoleSession) -> dict[str, object]:
    """What the ledger is asked about; a missing claim matches nothing."""
    claims: dict[str, object] = {"sub": found.user_id, "client_id": CONSOLE, "rev": found.rev}
    named = {"sid": found.sid, "gid": found.gid, "idp": found.idp}
    return claims | {name: value for name, value in named.items() if value is not None}


def _failed(detail: str) -> PageError:
    return PageError(
        "sign_in_failed", "The sign-in did not work", "Try again from the beginning.", 400, detail=detail, retry=HOME
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _pack(path: str) -> str:
    return base64.urlsafe_b64encode(path.encode()).decode().rstrip("=")


def _wanted(request: Request) -> str:
    """The page that is asked for, with its query where that may stand in a redirect."""
    path, query = str(request.scope["path"]), request.url.query
    for asked in ([f"{path}?{query}"] if query else []) + [path]:
        if asked.startswith(HOME) and len(asked) <= _LONGEST_PAGE and is_local_path(asked):
            return asked
    return HOME


def _unpack(packed: str) -> str:
    """The page that was asked for; the console's first one for anything that is no page of it."""
    try:
        path = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return HOME
    return path if path.startswith(HOME) and is_local_path(path) else HOME


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _expiry(claims: Mapping[str, object]) -> datetime:
    expiry = claims.get("exp")
    return datetime.fromtimestamp(expiry if isinstance(expiry, int) else 0, UTC)


def _rev(claims: Mapping[str, object]) -> int:
    rev = claims.get("rev")
    return rev if isinstance(rev, int) else 0
