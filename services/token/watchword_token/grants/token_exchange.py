"""token-exchange: a token becomes another, for less, for somebody else, or in another's name.

Nothing is exchanged that the client's policies do not allow by name, and what comes of it is never more than what went
in: no longer, no wider, and revoked with it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from pydantic import JsonValue

from watchword_events.exports import ExchangePolicy
from watchword_policy.scopes import format_scope
from watchword_runtime.foreign_jwts import UnusableJwt, unverified_claims
from watchword_token.access import NOTHING, AccessRules, NotLetIn
from watchword_token.clients import Client
from watchword_token.issuing import Issuing, NotAllowed, TokenRequest, answer, requested_scope
from watchword_token.subjects import (
    ACCESS_TOKEN,
    DESCENT,
    ID_TOKEN,
    JWT,
    TOKEN_TYPES,
    Subject,
    Subjects,
    Unusable,
    check_issued_type,
)
from watchword_token.workloads import Workloads
from watchword_web.errors import OAuthError
from watchword_web.forms import Params

log = structlog.get_logger()

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
LONGEST_CHAIN: Final = 5  # actors behind each other, exchanges one after the other


class Shown(NamedTuple):
    """A token of a request, with the type that it is said to have."""

    token: str
    type: str


class Asked(NamedTuple):
    """A request to exchange. targets: for whom the new token shall be, as named."""

    subject: Shown
    actor: Shown | None
    targets: tuple[str, ...]
    scope: frozenset[str]
    issued_type: str


class TokenExchangeGrant:
    """One token for another."""

    def __init__(self, issuing: Issuing, subjects: Subjects, workloads: Workloads, access: AccessRules) -> None:
        self._issuing = issuing
        self._access = access
        self._subjects = subjects
        self._workloads = workloads

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token about the subject, for the target that was asked for.

        A token of a trusted issuer is not asked for policies, but for access rules (`workloads`).
        Raises OAuthError: invalid_request for tokens that are not good or may not be exchanged, invalid_target,
        invalid_scope, unauthorized_client. Spec: RFC 8693 2.1, 2.2.
        """
        client = request.client
        asked = read(request.form)
        if not is_ours(asked.subject, self._issuing.tokens.issuer):
            if asked.actor is not None:
                raise OAuthError("invalid_request", "An actor_token goes with tokens of this installation only")
            return await self._workloads.issue(
                request,
                asked.subject.token,
                targets=asked.targets,
                scope=asked.scope,
                refuse=lambda why: OAuthError("invalid_request", why),
                issued_type=asked.issued_type,
            )
        # RFC 8693 5: whoever got hold of a token could exchange it, if nobody had to prove who they are.
        if client.is_public:
            raise NotAllowed("unauthorized_client", "A public client may not exchange tokens of this installation")
        subject = await self._shown(asked.subject, request, "subject_token")
        actor = await self._shown(asked.actor, request, "actor_token") if asked.actor is not None else None
        policies = admitted(client, subject)
        check_actor(client, subject, actor)
        targets, scope = choose(policies, asked, client=client, subject=subject, has_actor=actor is not None)
        access = await self._let_in(request, subject)
        if actor is not None:
            self._issuing.check_reached(request, actor.source)
        key = await self._issuing.key_for(request, subject.source, targets)
        if key is None:
            raise _unusable("subject_token", "revoked meanwhile")
        check_issued_type(asked.issued_type, key)
        issued = await self._issuing.access_token(
            request,
            key,
            subject=subject.sub,
            scope=format_scope(scope),
            resource=targets,
            lineage=lineage(client, subject, actor),
            access=access,
            not_after=datetime.fromtimestamp(subject.exp if actor is None else min(subject.exp, actor.exp), UTC),
            address=subject.grant.address if subject.grant is not None else "",
        )
        log.info(
            "token.exchanged",
            client_id=client.client_id,
            user_id=subject.sub,
            gid=subject.carried.get("gid"),
            subject_client=subject.client_id,
            actor=actor.sub if actor is not None else None,
            audience=targets,
        )
        return answer(issued, format_scope(scope), issued_type=asked.issued_type)

    async def _shown(self, shown: Shown, request: TokenRequest, name: str) -> Subject:
        """Whom a token is about. Raises OAuthError invalid_request, the same for everything that is wrong with it."""
        read = self._subjects.of_id_token if shown.type == ID_TOKEN else self._subjects.of_access_token
        try:
            return await read(shown.token, request)
        except Unusable as error:
            raise _unusable(name, str(error)) from None

    async def _let_in(self, request: TokenRequest, subject: Subject) -> Mapping[str, JsonValue]:
        """What access rules give a person in this client, who must be one that may use it. Raises OAuthError."""
        client = request.client
        if subject.user is None:
            return NOTHING
        if not subject.user.may_use(client):
            raise NotAllowed("invalid_request", "The person may not use this client")
        try:
            return await self._access.of_person(subject.sub, client, request.now, grant=subject.grant)
        except NotLetIn as refused:
            said = f"Access rules do not let the person in (decision {refused.decision_id})"
            raise NotAllowed("invalid_request", said) from None


def read(form: Params) -> Asked:
    """What is asked for. Raises OAuthError. Spec: RFC 8693 2.1."""
    subject = _shown(form, "subject_token")
    if subject is None:
        raise OAuthError("invalid_request", "subject_token and subject_token_type are needed")
    issued_type = form.get("requested_token_type", ACCESS_TOKEN)
    if issued_type not in (ACCESS_TOKEN, JWT):
        raise OAuthError("invalid_request", "requested_token_type must be access_token or jwt")
    resources = form.get("resource", "").split()
    if not all(_is_resource(each) for each in resources):
        # RFC 8707 2: an absolute URI, without a fragment.
        raise OAuthError("invalid_target", "resource must be an absolute URI without a fragment")
    targets = tuple(dict.fromkeys((*resources, *form.get("audience", "").split())))
    return Asked(subject, _shown(form, "actor_token"), targets, requested_scope(form), issued_type)


def _shown(form: Params, name: str) -> Shown | None:
    token, type_ = form.get(name), form.get(f"{name}_type")
    if (token is None) != (type_ is None):
        raise OAuthError("invalid_request", f"{name} and {name}_type belong together")
    if token is None or type_ is None:
        return None
    if type_ not in TOKEN_TYPES:
        raise OAuthError("invalid_request", f"{name}_type must be access_token, id_token or jwt")
    return Shown(token, type_)


def _is_resource(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) and "#" not in value and value.isprintable()


def is_ours(shown: Shown, issuer: str) -> bool:
    """Whether the token is to be read as one of this installation, going by what it says of itself.

    RFC 8693 3: an `access_token` always is.
    """
    if shown.type == ACCESS_TOKEN:
        return True
    try:
        return unverified_claims(shown.token).get("iss") == issuer
    except UnusableJwt:
        return True  # neither ours nor anybody else's: refused as one of ours


def admitted(client: Client, subject: Subject) -> list[ExchangePolicy]:
    """The client's policies that allow it to exchange this token at all. Raises NotAllowed when none does.

    Without a name on the list, only tokens that were issued to the client or are meant for it (Keycloak CVE-2022-1245).
    """
    found = [
        policy
        for policy in client.exchange_policies
        if (subject.client_id in policy.subject_clients if policy.subject_clients else subject.is_for(client.client_id))
        or (not policy.subject_clients and not subject.audience.isdisjoint(client.audience))
    ]
    if not found:
        raise NotAllowed("invalid_request", "No exchange policy of this client allows this subject_token")
    return found


def check_actor(client: Client, subject: Subject, actor: Subject | None) -> None:
    """Who acts must be who may: the client's own token or one meant for it, and whom `may_act` names, if it does.

    Raises OAuthError. Spec: RFC 8693 2.1, 4.4.
    """
    if actor is not None and not actor.is_for(client.client_id):
        raise OAuthError("invalid_request", "The actor_token is neither this client's nor meant for it")
    if actor is not None and "act" in actor.carried:
        raise OAuthError("invalid_request", "The actor_token says that somebody else acts")
    if _depth(subject.carried.get("act")) >= LONGEST_CHAIN or len(subject.via) >= LONGEST_CHAIN:
        raise OAuthError("invalid_request", f"Tokens are passed on at most {LONGEST_CHAIN} times")
    if subject.may_act is None:
        return
    acting = actor.sub if actor is not None else client.client_id
    if subject.may_act.get("sub") != acting:
        raise OAuthError("invalid_request", "The subject_token names somebody else who may act")


def _depth(act: Any) -> int:
    depth = 0
    while isinstance(act, dict):
        depth, act = depth + 1, act.get("act")
    return depth


def choose(
    policies: Sequence[ExchangePolicy], asked: Asked, *, client: Client, subject: Subject, has_actor: bool
) -> tuple[tuple[str, ...], frozenset[str]]:
    """For whom the new token is and what it may carry, by the first of the policies that gives all that is asked for.

    Without a target: the one audience that there is. Without a scope: all that is allowed. Raises NotAllowed.
    Spec: RFC 8693 2.1, 2.2.2.
    """
    acting = [each for each in policies if each.actor == "optional" or (each.actor == "required") == has_actor]
    if not acting:
        wrong = "An actor_token may not be used here" if has_actor else "An actor_token is needed"
        raise NotAllowed("invalid_request", wrong)
    targets = asked.targets or _only_target(acting)
    fitting = [each for each in acting if each.audiences.issuperset(targets)]
    if not fitting:
        raise NotAllowed("invalid_target", "This client may not exchange the token for that audience or resource")
    for policy in fitting:
        limit = subject.scope & policy.scope & client.scope
        if subject.user is not None:
            limit = subject.user.may_hold(limit)
        if asked.scope <= limit:
            return targets, asked.scope or limit
    raise NotAllowed("invalid_scope", "The scope is wider than the subject_token, the client or its policy allows")


def _only_target(policies: Sequence[ExchangePolicy]) -> tuple[str, ...]:
    audiences = frozenset[str]().union(*(policy.audiences for policy in policies))
    if len(audiences) != 1:
        raise OAuthError("invalid_target", "Say by audience or resource whom the token shall be for")
    return tuple(audiences)


def lineage(client: Client, subject: Subject, actor: Subject | None) -> dict[str, JsonValue]:
    """What the new token descends from: all that the subject's did, and the client to which that was issued; the same
    of the actor, within `act`.

    Spec: RFC 8693 4.1 (`act`: the current actor, with those before it inside).
    """
    result: dict[str, JsonValue] = {**subject.carried, **_way(client, subject)}
    if actor is not None:
        act: dict[str, JsonValue] = {"sub": actor.sub, **_way(client, actor)}
        act |= {name: actor.carried[name] for name in DESCENT if name in actor.carried}
        if "act" in result:
            act["act"] = result["act"]
        result["act"] = act
    return result


def _way(client: Client, shown: Subject) -> dict[str, JsonValue]:
    """`via`: the clients to which a token, and those that it was exchanged for, were issued; not the one that asks."""
    way = dict.fromkeys((*shown.via, shown.client_id))
    way.pop(client.client_id, None)
    return {"via": list(way)} if way else {}


def _unusable(name: str, detail: str) -> OAuthError:
    return OAuthError("invalid_request", f"The {name} is invalid, expired or revoked", 400, detail)
