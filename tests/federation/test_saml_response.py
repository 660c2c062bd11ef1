"""What a verified assertion has to say, without XML."""

from dataclasses import replace
from datetime import UTC, datetime

from watchword_federation.connectors.saml_response import (
    BEARER,
    SUCCESS,
    Assertion,
    Confirmation,
    Envelope,
    Expected,
    check_response,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
IDP, SP, ACS = "https://idp.example", "https://sp.example", "https://sp.example/acs"
SOON = "2026-11-22T00:05:00Z"
HONEST = Assertion(
    id="_a",
    issuer=IDP,
    name_id=None,
    confirmations=(Confirmation(BEARER, ACS, "_r", None, SOON),),
    not_before="2026-11-21T23:59:00Z",
    not_on_or_after=SOON,
    audiences=((SP,),),
    authn_instant="2026-11-21T23:59:00Z",
    authn_context=None,
    session_index=None,
    session_not_on_or_after=None,
    attributes={},
)


def test_the_ends_of_the_calendar_are_times_as_any_other() -> None:
    """.NET writes what it was not told as the first moment of year 1, or as the last one of year 9999."""
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"
    assertion = replace(HONEST, not_before=first, not_on_or_after=last, session_not_on_or_after=last)
    accepted = check_response(Envelope("_e", "_r", IDP, ACS, SUCCESS), assertion, Expected(IDP, SP, ACS, "_r"), now=NOW)
    assert accepted.good_until.year == 9999
