"""What a client may exchange tokens of this installation for: nothing, unless one of these says so."""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from watchword_events.exports import ExchangePolicy
from watchword_policy.scopes import parse_scope

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
MAX_POLICIES: Final = 32


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _scope(value: str) -> str:
    return " ".join(sorted(parse_scope(value)))


Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
Names = Annotated[tuple[Name, ...], Field(max_length=64), AfterValidator(_unique)]


class ExchangeRow(BaseModel):
    """One permission to exchange tokens.

    audiences: what the new tokens may be for.  scope: the most that they may carry; never more than the exchanged one.
    subject_clients: ids of the clients whose tokens may be exchanged; empty for those that are meant for this client or
    were issued to it.  actor: whether a second token says who acts for the subject.
    Spec: RFC 8693 1.1, 2.1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audiences: Annotated[Names, Field(min_length=1)]
    scope: Annotated[str, Field(max_length=2048), AfterValidator(_scope)] = ""
    subject_clients: Names = ()
    actor: Literal["none", "optional", "required"] = "none"

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if "offline_access" in self.scope.split():
            raise ValueError("scope: an exchanged token is never renewed, so offline_access means nothing")
        return self

    def export(self) -> ExchangePolicy:
        """The same, as `token` copies it."""
        return ExchangePolicy(
            audiences=frozenset(self.audiences),
            scope=parse_scope(self.scope),
            subject_clients=frozenset(self.subject_clients),
            actor=self.actor,
        )


ExchangeRows = Annotated[tuple[ExchangeRow, ...], Field(max_length=MAX_POLICIES)]
