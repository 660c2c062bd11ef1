"""Initial access tokens: with one, a program that an administrator trusts that far registers clients."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from watchword_admin.client_documents import Name
from watchword_admin.models import RegistrationToken
from watchword_admin.registration.secrets import new_secret
from watchword_admin.registration.terms import HostPattern, SelfGrant, Terms
from watchword_database import Session
from watchword_database.ids import new_id
from watchword_events.names import Position

LONGEST_S: Final = 366 * 86_400
MOST_USES: Final = 100_000


class NewInitialToken(BaseModel):
    """An initial access token to make. The members behind `expires_in_s` bound what its holder may register.

    scope: when left out, that of the setting `registration_scope`, and of resource servers that are open to all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    uses: Annotated[int, Field(ge=1, le=MOST_USES)] = 1
    expires_in_s: Annotated[int, Field(ge=60, le=LONGEST_S)] = 86_400
    scope: str | None = None
    grant_types: tuple[SelfGrant, ...] = ("authorization_code", "refresh_token")
    redirect_hosts: tuple[HostPattern, ...] = ()

    @model_validator(mode="after")
    def _check_terms(self) -> "NewInitialToken":
        self.terms("")
        return self

    def terms(self, default_scope: str) -> Terms:
        """The bounds."""
        return Terms(
            scope=default_scope if self.scope is None else self.scope,
            grant_types=self.grant_types,
            redirect_hosts=self.redirect_hosts,
        )


class InitialTokenView(Terms):
    """An initial access token as the API shows it. token: only in the answer to the call that made it."""

    id: str
    name: str
    uses_left: int
    created_by: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    token: str | None = None


async def make_token(
    session: Session, new: NewInitialToken, *, default_scope: str, by: str | None, rev: Position, now: datetime
) -> InitialTokenView:
    """The token works from now on; its text stands in this answer alone.

    by: who made it.  rev: noted before anything was looked at.
    """
    token_id = new_id()
    secret = new_secret(token_id)
    row = RegistrationToken(
        id=token_id,
        name=new.name,
        secret_hash=secret.hash,
        terms=new.terms(default_scope).model_dump(mode="json"),
        uses_left=new.uses,
        rev=rev,
        created_by=by,
        created_at=now,
        expires_at=now + timedelta(seconds=new.expires_in_s),
    )
    session.add(row)
    return view(row, token=secret.text)


def view(row: RegistrationToken, *, token: str | None = None) -> InitialTokenView:
    """What the API answers about a token."""
    fields = {name: getattr(row, name) for name in InitialTokenView.model_fields if hasattr(row, name)}
    return InitialTokenView.model_validate({**row.terms, **fields, "token": token})


def views(rows: Sequence[RegistrationToken]) -> list[InitialTokenView]:
    """Several."""
    return [view(row) for row in rows]
