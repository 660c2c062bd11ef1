"""The particulars of a grant: what exactly it is for (RFC 9396), and claims that were asked for by name.

They stand in the grant's row as JSON, as they were allowed; what the client may not ask for any more is left out at
each use.
"""

from typing import Final, NamedTuple

import orjson

from watchword_events.handovers import Approval, ClaimsRequest
from watchword_policy.claims import within
from watchword_policy.details import Details, InvalidDetails, narrowed, parse_details
from watchword_token.clients import Client
from watchword_web.errors import OAuthError
from watchword_web.forms import Params


class Particulars(NamedTuple):
    """What a token is for in detail; claims to be told in the ID token and at userinfo beside those of the scope."""

    details: Details = ()
    id_token: tuple[str, ...] = ()
    userinfo: tuple[str, ...] = ()


NONE: Final = Particulars()


def columns_of(approval: Approval) -> tuple[str | None, str | None]:
    """The columns details and claims of a grant's row; None for none, as nearly always."""
    details, claims = approval.authorization_details, approval.claims_request
    return (
        orjson.dumps(details).decode() if details else None,
        None if claims is None else claims.model_dump_json(),
    )


def particulars_of(details: str | None, claims: str | None, client: Client, form: Params) -> Particulars:
    """Those of a grant's row that count now, narrowed to the details that a request asks for.

    Raises OAuthError invalid_authorization_details. Spec: RFC 9396 5, 6; OpenID Connect Core 5.5.
    """
    asked = form.get("authorization_details")
    if details is None and claims is None and asked is None:
        return NONE
    granted: Details = () if details is None else tuple(orjson.loads(details))
    if asked is not None:
        try:
            granted = narrowed(granted, parse_details(asked, client.detail_types))
        except InvalidDetails as error:
            raise OAuthError("invalid_authorization_details", str(error)) from None
    named = ClaimsRequest() if claims is None else ClaimsRequest.model_validate_json(claims)
    return Particulars(
        details=tuple(each for each in granted if each.get("type") in client.detail_types),
        id_token=within(named.id_token, client.scope),
        userinfo=within(named.userinfo, client.scope),
    )
