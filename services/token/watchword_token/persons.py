"""Whom a script acts for: what it shows in place of a client's secret, and what that proves.

It is an API key, a JWT that was signed with a key registered as one, or an access token of the person. Each has to say
that it is for this (`applications:sign-in`): an application that somebody signed in to cannot go on to another one in
their name. A token is for this installation, or the client that is asked for, and for nobody else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, NoReturn

from pydantic import JsonValue

from watchword_database import Database, transaction
from watchword_policy.scopes import SIGN_IN
from watchword_runtime.access import API_KEY_HEADERS
from watchword_runtime.client_assertions import KEY_ALGS, AssertionKeys, Assertions, NotProved, client_named_in
from watchword_runtime.client_keys import RegisteredKeys, key_set
from watchword_runtime.key_uses import KeyUses
from watchword_token import api_keys
from watchword_token.issuing import Credential, TokenRequest
from watchword_token.models import ApiKey
from watchword_token.subjects import Subjects, Unusable
from watchword_web.errors import OAuthError
from watchword_web.forms import Params

_HEADERS: Final = tuple(name.encode() for name in API_KEY_HEADERS)
_BEARER: Final = b"bearer "


def credential_in(authorization: bytes | None, headers: Mapping[bytes, bytes], form: Params) -> Credential | None:
    """What a request shows in place of a client's secret; None when it shows nothing of the kind.

    Raises OAuthError invalid_request for several credentials. Spec: RFC 6749 2.3; RFC 7521 4.1; RFC 6750 2.1.
    """
    found = [Credential("api_key", headers[name].decode("latin-1")) for name in _HEADERS if name in headers]
    if "assertion" in form:
        found.append(Credential("assertion", form["assertion"]))
    is_bearer = authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER
    if is_bearer and authorization is not None:
        found.append(Credential("token", authorization[len(_BEARER) :].strip().decode("latin-1")))
    if not found:
        return None
    proves_client = (
        "client_secret" in form or "client_assertion" in form or (authorization is not None and not is_bearer)
    )
    if len(found) + proves_client > 1:
        raise OAuthError("invalid_request", "More than one credential was sent")
    return found[0]


class Proved(NamedTuple):
    """Who somebody is, by a credential of theirs.

    source: as the ledger is asked about it.  carried: what tokens that come of it descend from.  not_after: when the
    credential ends.
    """

    user_id: str
    source: Mapping[str, JsonValue]
    carried: Mapping[str, JsonValue]
    not_after: datetime | None


class Persons:
    """Knows people by what their scripts show."""

    def __init__(
        self, issuer: str, database: Database, subjects: Subjects, assertions: Assertions, key_uses: KeyUses
    ) -> None:
        self._issuer = issuer
        self._database = database
        self._subjects = subjects
        self._assertions = assertions
        self._key_uses = key_uses

    async def proved(self, shown: Credential, request: TokenRequest) -> Proved:
        """Whose credential it is; whether it was revoked is for `Issuing.key_for` to ask.

        Raises OAuthError invalid_grant, the same for everything that is wrong. Spec: RFC 7523 3; RFC 9068 4.
        """
        match shown.kind:
            case "api_key":
                key = await self._key(shown.text.partition(".")[0], request.now)
                if not api_keys.is_secret_of(key, shown.text):
                    _refuse("another secret")
                return self._by_key(key, request.now)
            case "assertion":
                return await self._by_assertion(shown.text, request.now)
            case "token":
                return await self._by_token(shown.text, request)

    async def _by_assertion(self, assertion: str, now: datetime) -> Proved:
        """The key's id is issuer and subject; as a client's assertion, it is for us, short-lived and good once."""
        try:
            key = await self._key(client_named_in(assertion), now)
            if key.public_jwk is None:
                _refuse("a key with a secret")
            registered = RegisteredKeys(key_set({"keys": [key.public_jwk]}))
            await self._assertions.check(key.id, AssertionKeys(KEY_ALGS, keys=registered), assertion)
        except NotProved as error:
            _refuse(str(error))
        return self._by_key(key, now)

    async def _by_token(self, token: str, request: TokenRequest) -> Proved:
        try:
            subject = await self._subjects.of_access_token(token, request)
        except Unusable as error:
            _refuse(str(error))
        if subject.user is None or SIGN_IN not in subject.scope:
            _refuse("no person's, or not for this")
        if "cnf" in subject.source or "act" in subject.carried or subject.via:
            _refuse("bound to a key, or passed on")
        # Whoever else it is for was sent it, and could show it here (RFC 9700 2.3). Its own client has it anyway.
        meant = {self._issuer, request.client.client_id}
        if meant.isdisjoint(subject.audience) or not subject.audience <= meant | {subject.client_id}:
            _refuse("for others")
        return Proved(
            user_id=subject.sub,
            source=subject.source,
            carried=subject.carried,
            not_after=datetime.fromtimestamp(subject.exp, UTC),
        )

    async def _key(self, key_id: str, now: datetime) -> ApiKey:
        if not (key_id.isascii() and key_id.isprintable()):
            _refuse("no API key")
        async with transaction(self._database) as session:
            key = await api_keys.find_api_key(session, key_id)
        if key is None or SIGN_IN not in key.scope or (key.expires_at is not None and key.expires_at <= now):
            _refuse("unknown or expired API key, or not for this")
        return key

    def _by_key(self, key: ApiKey, now: datetime) -> Proved:
        self._key_uses.note(key.id, now)
        return Proved(
            user_id=key.user_id,
            source=api_keys.source_of(key),
            carried={"gid": key.id},
            not_after=key.expires_at,
        )


def _refuse(detail: str) -> NoReturn:
    raise OAuthError(
        "invalid_grant", "The credential of the person is unknown, expired, revoked or not for this", 400, detail
    )
