"""What would become of a sign-in to a client if somebody signed in now. No flow begins, and nothing is noted.

The same checks of the request, the same rules and the same consent as a sign-in has; what the client would be told is
for `token` to say.
"""

from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from watchword_authz import authorize, consent, requirements
from watchword_authz import flow as steps
from watchword_authz.checks import Asked
from watchword_authz.context import Context
from watchword_authz.requests import CODE, AuthorizationRefused, AuthorizationRequest
from watchword_events.exports import ClientExport, UserExport
from watchword_policy.rules import Outcome
from watchword_runtime.internal import Unreachable
from watchword_runtime.rules import person_facts, rules_client
from watchword_web.errors import PageError, Problem

_CHALLENGE: Final = "A" * 43  # stands for one that the application would make
_NONCE: Final = "trial"

Id = Annotated[str, Field(min_length=1, max_length=512)]


def _address(value: str) -> str:
    ip_address(value)
    return value


class Attempt(BaseModel):
    """Who would sign in to what, and how the application would ask.

    redirect_uri: left out, the first that is registered.  scope: separated by spaces; left out, all that the client may
    ask for.  provider_id: through which provider the person would come; left out, with a password here.
    address: where the person would be; left out, nowhere that a rule could know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Id
    user_id: Id
    redirect_uri: Annotated[str, Field(max_length=2048)] | None = None
    scope: Annotated[str, Field(max_length=2048)] | None = None
    resource: Annotated[tuple[Id, ...], Field(max_length=16)] = ()
    provider_id: Id | None = None
    address: Annotated[str, Field(max_length=64), AfterValidator(_address)] | None = None


class Refusal(BaseModel):
    """With what the request would be turned away before anybody signs in, as the application or a page would say it."""

    error: str
    description: str


class Ruled(BaseModel):
    """What access rules say. rule: the one that decided.  policy: all that matched."""

    allowed: bool
    outcome: Outcome
    rule: str | None
    service_account: str | None
    roles: list[str]
    policy: list[str]
    why: str


class AskedFor(BaseModel):
    """One line of the consent page. note: the person's data that the scope would show."""

    scope: str
    title: str
    note: str


class Trial(BaseModel):
    """What would become of it. lets_in: in the end, once the person has proved who they are and consented.

    refusal: null where the request is in order.  scope: of the request, as far as the client may ask for it.
    issuer: who would vouch for the person, as rules see it.  has_permission: the one that the client requires, if any.
    needs_factor: a second one is demanded, or there is one.  asks_consent: whether the consent page would be shown,
    and consent what it would ask.
    """

    lets_in: bool
    refusal: Refusal | None
    redirect_uri: str | None
    scope: list[str]
    issuer: str
    client_enabled: bool
    active: bool
    has_permission: bool
    decision: Ruled
    needs_factor: bool
    asks_consent: bool
    consent: list[AskedFor]


async def of(context: Context, attempt: Attempt) -> Trial:
    """As things are now, at their owners where these can be asked. Raises Problem, BookAway (503)."""
    try:
        await context.users.pull([attempt.user_id])
        await context.clients.pull([attempt.client_id])
        await context.rules.catch_up()
    except Unreachable:
        pass  # what is known here is all that there is
    user, client = await context.users.get(attempt.user_id), await context.clients.get(attempt.client_id)
    if user is None or client is None:
        raise Problem(404, "Nobody can try this", f"There is no such {'person' if client else 'client'}.")
    issuer = await _issuer(context, attempt)
    request, refusal = _request(context, attempt, client)
    facts = person_facts(user, client, iss=issuer, ip=attempt.address or "", time=context.now())
    decision = context.rules.decide(facts, rules_client(client))
    need = await requirements.need_of(context.database, user, client_id=client.client_id)
    consented = await consent.allowed(context.database, user.id, client.client_id)
    has_permission = client.is_open_to(user)
    asks = request is not None and steps.needs_consent(request, client, consented)
    return Trial(
        lets_in=request is not None and client.enabled and user.active and has_permission and decision.allowed,
        refusal=refusal,
        redirect_uri=None if request is None else request.redirect_uri,
        scope=[] if request is None else sorted(request.scope),
        issuer=issuer,
        client_enabled=client.enabled,
        active=user.active,
        has_permission=has_permission,
        decision=Ruled.model_validate(decision, from_attributes=True),
        needs_factor=need.is_demanded or need.has_factor,
        asks_consent=asks,
        consent=_consent(context, request, user, client) if asks and request is not None else [],
    )


async def _issuer(context: Context, attempt: Attempt) -> str:
    if attempt.provider_id is None:
        return context.settings.issuer
    provider = await context.providers.get(attempt.provider_id)
    if provider is None:
        raise Problem(404, "Nobody can try this", "There is no such provider.")
    return provider.issuer


def _request(
    context: Context, attempt: Attempt, client: ClientExport
) -> tuple[AuthorizationRequest | None, Refusal | None]:
    """The request that the client would send, checked as at the authorization endpoint; or why it would be refused."""
    usual = next(iter(client.redirect_uris), None)
    response_type = CODE if CODE in client.response_types else next(iter(sorted(client.response_types)), CODE)
    params = {
        "redirect_uri": attempt.redirect_uri or usual,
        "response_type": response_type,
        "scope": " ".join(sorted(client.scope)) if attempt.scope is None else attempt.scope,
        "resource": " ".join(attempt.resource),
        "nonce": _NONCE,
        **({"code_challenge": _CHALLENGE, "code_challenge_method": "S256"} if CODE in response_type.split() else {}),
    }
    asked = Asked(
        {name: value for name, value in params.items() if value},
        client,
        is_pushed=True,  # how it arrives is up to the client, and nothing that could be tried
        is_signed=True,
        open_resources=context.resources.page,
    )
    try:
        return authorize.check(asked), None
    except AuthorizationRefused as refused:
        return None, Refusal(error=refused.error.value, description=refused.description)
    except PageError as refused:
        return None, Refusal(error=refused.code, description=str(refused.message))


def _consent(context: Context, request: AuthorizationRequest, user: UserExport, client: ClientExport) -> list[AskedFor]:
    words = context.pages.words("en")
    return [
        AskedFor(scope=line.scope, title=words.of(line.title), note=line.note)
        for line in consent.describe(request.consent_scope, user, client, context.scopes.page)
    ]
