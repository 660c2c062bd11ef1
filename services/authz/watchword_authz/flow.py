"""What a sign-in needs next: one pure decision, asked again at every step of a flow.

A flow never remembers "the person has passed step N". It is judged by what is true now: the live session of this
browser, the consent that stands, the request. So a replayed or skipped step leads to where the flow stands.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from watchword_authz.redirects import is_claimed_by_anyone
from watchword_authz.requests import AuthorizationRequest, OAuthCode, Permission, Prompt
from watchword_events.exports import ClientExport
from watchword_policy.assurance import TWO_FACTORS, is_met, is_ours

# How far an upstream's clock may be behind ours when it says when the person signed in there (threat 37).
UPSTREAM_SKEW: Final = timedelta(seconds=60)


class Step(StrEnum):
    """Where a flow stands."""

    SIGN_IN = "sign-in"
    FACTOR = "factor"
    ENROL = "enrol"
    CHOOSE_ACCOUNT = "choose-account"
    NOT_ALLOWED = "not-allowed"
    DENIED = "denied"
    CONSENT = "consent"
    WRONG_ACCOUNT = "wrong-account"
    UNMET = "unmet"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Standing:
    """The live session of the browser behind a flow.

    is_fresh: the person signed in in this very flow.  is_chosen: they said "go on with this account" in it.
    may_use: whether the person may use the client at all.  subject: what a pairwise client calls them.  is_federated:
    by an identity provider, which may be able to do better.  has_factor: a second factor could be asked for, where the
    session has none.  is_short: one is demanded.
    """

    user_id: str
    auth_time: datetime
    is_fresh: bool
    is_chosen: bool
    may_use: bool = True
    subject: str | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    is_federated: bool = False
    has_factor: bool = False
    is_short: bool = False


def next_step(
    request: AuthorizationRequest,
    client: ClientExport,
    standing: Standing | None,
    *,
    wants_again: bool,
    consented: frozenset[Permission],
    started_at: datetime,
    now: datetime,
) -> Step:
    """The step that the flow stands at. wants_again: the person asked to sign in although a session exists.

    A level of assurance that we know, or that is essential, is reached by signing in again or it is an error; another
    one is tried where an identity provider may know it, and goes on with what there is.
    Spec: OpenID Connect Core 3.1.2.3, 3.1.2.4, 5.5.1.1; RFC 9470 4, 5.
    """
    if standing is None or not _has_proved_enough(request, standing, wants_again, started_at, now):
        return Step.SIGN_IN
    # OpenID Connect Core 3.1.2.1, 5.5.1: the answer is about the person that is named, or it is an error.
    if request.hint_user_id not in (None, standing.user_id) or request.hint_subject not in (None, standing.subject):
        return Step.WRONG_ACCOUNT if standing.is_fresh else Step.SIGN_IN
    if standing.is_short:
        return Step.FACTOR if standing.has_factor else Step.SIGN_IN
    if not is_met(request.acr_values, acr=standing.acr, amr=standing.amr):
        if standing.has_factor and TWO_FACTORS in request.acr_values:
            return Step.FACTOR
        is_needed = request.acr_essential or is_ours(request.acr_values)
        if standing.is_fresh and is_needed:
            return Step.UNMET
        if not standing.is_fresh and (is_needed or standing.is_federated):
            return Step.SIGN_IN
    if Prompt.SELECT_ACCOUNT in request.prompt and not (standing.is_fresh or standing.is_chosen):
        return Step.CHOOSE_ACCOUNT
    if not standing.may_use:
        return Step.NOT_ALLOWED
    if needs_consent(request, client, consented):
        return Step.CONSENT
    return Step.FINISH


def _has_proved_enough(
    request: AuthorizationRequest, standing: Standing, wants_again: bool, started_at: datetime, now: datetime
) -> bool:
    """Whether the sign-in behind the session is recent enough for what was asked."""
    if standing.is_fresh:
        # An upstream that ignored our max_age tells so by an old auth_time; it is not accepted as fresh.
        age_s = 0 if Prompt.LOGIN in request.prompt else request.max_age_s
        return age_s is None or standing.auth_time >= started_at - timedelta(seconds=age_s) - UPSTREAM_SKEW
    if wants_again or Prompt.LOGIN in request.prompt:
        return False
    # max_age=0 asks for a new sign-in, as prompt=login does (OpenID Connect Core 3.1.2.1).
    return request.max_age_s is None or now - standing.auth_time < timedelta(seconds=request.max_age_s)


def needs_consent(request: AuthorizationRequest, client: ClientExport, consented: frozenset[Permission]) -> bool:
    """Whether the person is asked: for a scope that is new, or new at a resource, because the application asks for it,
    or because nobody can say who it is.

    An administrator who trusts a client (`require_consent` false) is asked for nobody, unless the application insists.
    """
    if Prompt.CONSENT in request.prompt:
        return True
    # Nobody here vouches for a client that registered itself: what it was allowed once says nothing about next time.
    if client.kind != "registered":
        return True
    if not client.require_consent:
        return False
    # RFC 8252 8.6: a remembered consent is not enough where another program may impersonate the client.
    is_public = client.token_endpoint_auth_method == "none"
    if is_public and is_claimed_by_anyone(request.redirect_uri):
        return True
    # What is asked for in detail is asked about each time: it may be one payment today and another tomorrow.
    return bool(request.details) or not request.permissions <= consented


def error_of(step: Step) -> tuple[OAuthCode, str]:
    """What the application is told when the step would have to be shown and may not (prompt=none).

    Spec: OpenID Connect Core 3.1.2.6.
    """
    match step:
        case Step.SIGN_IN:
            return OAuthCode.LOGIN_REQUIRED, "the person has to sign in"
        case Step.FACTOR | Step.ENROL:
            return OAuthCode.LOGIN_REQUIRED, "the person has to prove a second factor"
        case Step.WRONG_ACCOUNT:
            return OAuthCode.LOGIN_REQUIRED, "another person signed in than id_token_hint names"
        case Step.UNMET:
            return (
                OAuthCode.UNMET_AUTHENTICATION_REQUIREMENTS,
                "the person did not sign in as well as is asked for",
            )
        case Step.CHOOSE_ACCOUNT:
            return OAuthCode.ACCOUNT_SELECTION_REQUIRED, "the person has to choose an account"
        case Step.NOT_ALLOWED | Step.DENIED:
            return OAuthCode.ACCESS_DENIED, "the person may not use this application"
        case Step.CONSENT:
            return OAuthCode.CONSENT_REQUIRED, "the person has to allow this"
        case Step.FINISH:
            raise ValueError("a finished step is no error")
