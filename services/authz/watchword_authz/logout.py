"""RP-initiated logout: what an application asks for, and when it may be done without asking the person."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchword_authz import redirects
from watchword_authz.hints import Hint
from watchword_authz.models import UserSession
from watchword_events.exports import ClientExport
from watchword_web.delivery import with_params
from watchword_web.errors import PageError

# What the endpoint reads; everything else is ignored (logout_hint).
PARAMETERS: Final = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales")
_STATE: Final = re.compile(r"[\x20-\x7e]{1,2048}")


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A request whose parts have been checked. return_to: where the person may be sent afterwards, None for nowhere."""

    client: ClientExport | None
    hint: Hint | None
    return_to: str | None
    state: str | None

    @property
    def target(self) -> str | None:
        """Where the person is sent, with the application's state."""
        if self.return_to is None:
            return None
        return with_params(self.return_to, {"state": self.state}) if self.state else self.return_to


def named_client(params: Mapping[str, str], hint: Hint | None) -> str | None:
    """The client that the request is about: that of the hint, or the one that it names itself.

    None when both are there and differ: then nothing in the request is believed.
    """
    asked = params.get("client_id")
    if hint is None:
        return asked
    return hint.client_id if asked in (None, hint.client_id) else None


def check(params: Mapping[str, str], client: ClientExport | None, hint: Hint | None) -> LogoutRequest:
    """The request as it may be acted on; what does not hold is left out rather than refused.

    A post_logout_redirect_uri counts only when it equals one of this client's, byte for byte.
    Raises PageError for a state that cannot be sent back. Spec: OpenID Connect RP-Initiated Logout 1.0 2, 3.
    """
    state = params.get("state")
    if state is not None and not _STATE.fullmatch(state):
        raise PageError("invalid_request", "This sign-out cannot be done", "The application sent a malformed state.")
    asked = params.get("post_logout_redirect_uri")
    is_theirs = (
        asked is not None
        and client is not None
        and client.enabled
        and asked in client.post_logout_redirect_uris
        and redirects.is_usable(asked)
    )
    is_about_client = client is not None and hint is not None and hint.client_id == client.client_id
    return LogoutRequest(
        client=client, hint=hint if is_about_client else None, return_to=asked if is_theirs else None, state=state
    )


def frame_of(client: ClientExport, *, issuer: str, sid: str) -> str | None:
    """The page of a client that is told of the end of a session in a frame; None when it has none.

    Which session it is is said to every one, also where it is not required.
    Spec: OpenID Connect Front-Channel Logout 1.0 2, 3.
    """
    if not client.enabled or client.frontchannel_logout_uri is None:
        return None
    return with_params(client.frontchannel_logout_uri, {"iss": issuer, "sid": sid})


def may_end_now(request: LogoutRequest, session: UserSession) -> bool:
    """Whether the application proved that it means this session: otherwise the person is asked.

    Without that, any page could sign people out. Spec: OpenID Connect RP-Initiated Logout 1.0 2, 6.
    """
    hint = request.hint
    return hint is not None and hint.user_id == session.user_id and hint.sid in (None, session.id)
