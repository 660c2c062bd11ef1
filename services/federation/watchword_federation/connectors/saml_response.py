"""What a SAML response says, in plain types, and every check of it beyond the signature.

Nothing here touches XML: `saml_library` makes these values of the very tree whose signature it verified.
Spec: SAML Core 2.3.3, 2.4.1.2, 2.5.1, 3.2.2; SAML Profiles 4.1.4.3; SAML Bindings 3.5.5.2.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword_federation.failures import Failure, SignInFailed

SKEW: Final = timedelta(seconds=60)
BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_STATUS: Final = "urn:oasis:names:tc:SAML:2.0:status:"
SUCCESS: Final = f"{_STATUS}Success"
# What a provider says when the person may not, or would not. Spec: SAML Core 3.2.2.2.
_DENIED: Final = frozenset(
    f"{_STATUS}{name}" for name in ("AuthnFailed", "NoPassive", "RequestDenied", "NoAuthnContext")
)
# Some write what they were not told as the first or the last moment that there is, from which nothing can be reckoned.
_FIRST: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
_LAST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outside of a response. Unless the response itself is signed, nobody vouches for it."""

    id: str
    in_response_to: str | None
    issuer: str | None
    destination: str | None
    status: str
    substatus: str = ""


@dataclass(frozen=True, slots=True)
class NameId:
    """Whom an assertion is about, as the provider names them. Spec: SAML Core 2.2.2, 2.2.3."""

    value: str = field(repr=False)
    format: str
    name_qualifier: str = ""
    sp_name_qualifier: str = ""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How the bearer of an assertion proves to be its subject. The times are as they were written."""

    method: str
    recipient: str | None
    in_response_to: str | None
    not_before: str | None
    not_on_or_after: str | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """A verified assertion. audiences: one tuple for each restriction; every one has to be met."""

    id: str
    issuer: str
    name_id: NameId | None
    confirmations: tuple[Confirmation, ...]
    not_before: str | None
    not_on_or_after: str | None
    audiences: tuple[tuple[str, ...], ...]
    authn_instant: str
    authn_context: str | None
    session_index: str | None
    session_not_on_or_after: str | None
    attributes: Mapping[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a response has to fit. request_id: of our AuthnRequest; None for a sign-in that began at the provider."""

    issuer: str
    entity_id: str
    acs_url: str
    request_id: str | None
    max_age_s: int | None = None
    authn_context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What follows from the checks. good_until: as long as the assertion could be presented again."""

    good_until: datetime
    auth_time: datetime


def check_status(envelope: Envelope) -> None:
    """The provider says that it went well. Raises SignInFailed named after what it says instead.

    Spec: SAML Core 3.2.2.1.
    """
    if envelope.status == SUCCESS:
        return
    said = {envelope.status, envelope.substatus}
    failure = Failure.ACCESS_DENIED if said & _DENIED else Failure.PROVIDER_ERROR
    raise SignInFailed(failure, f"status {' '.join(_shown(code) for code in sorted(said) if code)}")


def check_response(envelope: Envelope, assertion: Assertion, expected: Expected, *, now: datetime) -> Accepted:
    """Every check of a response whose signature was verified. Raises SignInFailed named after the first that fails."""
    _check_issuer(envelope, assertion, expected)
    _check_audience(assertion, expected)
    _check_destination(envelope, expected)
    _check_conditions(assertion, now)
    confirmed_until = _check_confirmation(envelope, assertion, expected, now)
    auth_time = _check_authentication(assertion, expected, now)
    conditions_until = parse_time(assertion.not_on_or_after, "NotOnOrAfter of the conditions")
    return Accepted(good_until=max(conditions_until, confirmed_until) + SKEW, auth_time=auth_time)


def _check_issuer(envelope: Envelope, assertion: Assertion, expected: Expected) -> None:
    if assertion.issuer != expected.issuer:
        raise SignInFailed(Failure.ISSUER_MISMATCH, "issuer of the assertion")
    if envelope.issuer not in {None, expected.issuer}:
        raise SignInFailed(Failure.ISSUER_MISMATCH, "issuer of the response")


def _check_audience(assertion: Assertion, expected: Expected) -> None:
    # SAML Profiles 4.1.4.2: the assertion of a browser sign-in is restricted to the service provider, always.
    if not assertion.audiences:
        raise SignInFailed(Failure.AUDIENCE_MISMATCH, "no audience restriction")
    # SAML Core 2.5.1.4: several restrictions must all be met, several audiences of one are alternatives.
    if not all(expected.entity_id in restriction for restriction in assertion.audiences):
        raise SignInFailed(Failure.AUDIENCE_MISMATCH, "this service is not among the audiences")


def _check_destination(envelope: Envelope, expected: Expected) -> None:
    if envelope.destination not in {None, expected.acs_url}:
        raise SignInFailed(Failure.RECIPIENT_MISMATCH, "destination of the response")


def _check_conditions(assertion: Assertion, now: datetime) -> None:
    if now >= parse_time(assertion.not_on_or_after, "NotOnOrAfter of the conditions") + SKEW:
        raise SignInFailed(Failure.CLOCK_SKEW, "the conditions have expired")
    begin = assertion.not_before
    if begin is not None and parse_time(begin, "NotBefore of the conditions") - SKEW > now:
        raise SignInFailed(Failure.CLOCK_SKEW, "the conditions lie ahead")


def _check_confirmation(envelope: Envelope, assertion: Assertion, expected: Expected, now: datetime) -> datetime:
    """Until when the confirmation that fits is good. Spec: SAML Profiles 4.1.4.2, 4.1.4.3."""
    refused = SignInFailed(Failure.RESPONSE_INVALID, "no bearer confirmation")
    for confirmation in assertion.confirmations:
        if confirmation.method != BEARER:
            continue
        try:
            return _confirmed_until(confirmation, envelope, expected, now)
        except SignInFailed as error:
            refused = error
    raise refused


def _confirmed_until(confirmation: Confirmation, envelope: Envelope, expected: Expected, now: datetime) -> datetime:
    if confirmation.recipient != expected.acs_url:
        raise SignInFailed(Failure.RECIPIENT_MISMATCH, "recipient of the subject confirmation")
    # SAML Profiles 4.1.4.2: a bearer confirmation has an end and no beginning.
    if confirmation.not_before is not None:
        raise SignInFailed(Failure.RESPONSE_INVALID, "the subject confirmation has a NotBefore")
    until = parse_time(confirmation.not_on_or_after, "NotOnOrAfter of the subject confirmation")
    if now >= until + SKEW:
        raise SignInFailed(Failure.CLOCK_SKEW, "the subject confirmation has expired")
    # The envelope may be unsigned, so that what it says about the request counts only if the assertion says the same.
    if {confirmation.in_response_to, envelope.in_response_to} != {expected.request_id}:
        raise SignInFailed(Failure.STATE_MISMATCH, "InResponseTo of the subject confirmation")
    return until


def _check_authentication(assertion: Assertion, expected: Expected, now: datetime) -> datetime:
    """When the person proved to be who they are, as the provider says, and how. Spec: SAML Core 2.7.2."""
    auth_time = parse_time(assertion.authn_instant, "AuthnInstant")
    if auth_time > now + SKEW:
        raise SignInFailed(Failure.CLOCK_SKEW, "AuthnInstant lies ahead")
    over = assertion.session_not_on_or_after
    if over is not None and now >= parse_time(over, "SessionNotOnOrAfter") + SKEW:
        raise SignInFailed(Failure.CLOCK_SKEW, "SessionNotOnOrAfter has passed")
    if expected.max_age_s is not None and now - auth_time > timedelta(seconds=expected.max_age_s) + SKEW:
        raise SignInFailed(Failure.RESPONSE_INVALID, "AuthnInstant older than max_age")
    if expected.authn_context and assertion.authn_context not in expected.authn_context:
        raise SignInFailed(Failure.RESPONSE_INVALID, "another authentication context than the required ones")
    return min(auth_time, now)  # a provider's clock may be a minute ahead; nobody signed in later than now


def parse_time(value: str | None, name: str) -> datetime:
    """A point in time. name: of what. Raises SignInFailed(response_invalid). Spec: SAML Core 1.3.3."""
    found = _TIME.fullmatch(value or "")
    if found is None:
        raise SignInFailed(Failure.RESPONSE_INVALID, f"{name} missing or no time in UTC")
    try:
        return min(max(datetime.fromisoformat(found[1]).replace(tzinfo=UTC), _FIRST), _LAST)
    except ValueError as error:
        raise SignInFailed(Failure.RESPONSE_INVALID, f"{name} is no time") from error


def _shown(code: str) -> str:
    """A status code as it may stand in a log: what is none of SAML's could be anything."""
    return code.removeprefix(_STATUS) if re.fullmatch(rf"{_STATUS}[A-Za-z]{{1,40}}", code) else "unreadable"


def redacted(assertion: Assertion) -> Iterator[str]:
    """What an assertion holds, without a word about the person: for the steps of an attempt."""
    name_id = assertion.name_id
    yield "no NameID" if name_id is None else f"NameID format {_safe(name_id.format)}"
    yield from (f"attribute {_safe(name)}: {len(values)}" for name, values in assertion.attributes.items())


def _safe(text: str) -> str:
    return re.sub(r"[^!-~]", "?", text)[:120]
