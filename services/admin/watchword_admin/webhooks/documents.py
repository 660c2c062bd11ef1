"""What may be said of a webhook, and how it is shown."""

from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, SecretStr, model_validator

from watchword_admin.live import types_like
from watchword_admin.models import Webhook
from watchword_admin.uris import MAX_LENGTH, check_called_uri
from watchword_runtime.outbound import tls_of

SHORTEST_SECRET = 16


class About(StrEnum):
    """What is sent: entries of the audit log, or public events."""

    AUDIT = "audit"
    EVENTS = "events"


def _authorities(value: str) -> str:
    try:
        tls_of(value)
    except (OSError, ValueError):
        raise ValueError("this is no PEM with certificates") from None
    return value


Type = Annotated[str, Field(pattern=r"^[a-z0-9_*]+(\.[a-z0-9_*]+)*$", max_length=64)]
Secret = Annotated[SecretStr, Field(min_length=SHORTEST_SECRET, max_length=256)]


class WebhookDocument(BaseModel):
    """A webhook. types: only these, `client.*` for several.  methods: only calls with these, of the audit log.

    dialect: `openfaas` sends calls as OpenFaaS does, with its headers.  ca_bundle: authorities in PEM, by one of which
    alone the receiver may be vouched for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    url: Annotated[str, Field(max_length=MAX_LENGTH), AfterValidator(check_called_uri)]
    about: About = About.AUDIT
    types: list[Type] = Field(default=["*"], min_length=1, max_length=64)
    methods: list[Literal["POST", "PUT", "PATCH", "DELETE"]] = Field(default=[], max_length=4)
    dialect: Literal["watchword", "openfaas"] = "watchword"
    ca_bundle: Annotated[str, Field(max_length=32_768), AfterValidator(_authorities)] | None = None
    enabled: bool = True

    @model_validator(mode="after")
    def _fits(self) -> "WebhookDocument":
        if self.about is About.EVENTS and (self.methods or self.dialect != "watchword"):
            raise ValueError("events have no method and one dialect: leave out methods and dialect")
        return self

    def wants(self, type_: str, method: str | None) -> bool:
        """Whether something of this type, asked for with this method, is sent."""
        if self.methods and method not in self.methods:
            return False
        if self.dialect == "openfaas" and type_ != "api.called":
            return False
        return any(fnmatchcase(type_, each) for each in self.types)


class NewWebhook(WebhookDocument):
    """A webhook as it is written. secret: signs each batch; one is generated where none was ever given."""

    secret: Secret | None = None

    @model_validator(mode="after")
    def _names_events(self) -> "NewWebhook":
        unknown = next((each for each in self.types if self.about is About.EVENTS and not types_like(each)), None)
        if unknown is not None:
            raise ValueError(f"no event type is {unknown!r}")
        return self

    def document(self) -> WebhookDocument:
        """Without the secret."""
        return WebhookDocument.model_validate(self.model_dump(exclude={"secret"}))


class WebhookView(WebhookDocument):
    """A webhook as it is shown. after: number of the last entry or event that was dealt with.

    attempts: how often the next batch was tried, and error: why the last time did not work.  secret: once, if it was
    generated.
    """

    id: str
    after: int
    attempts: int
    error: str | None
    delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime
    secret: str | None = None


class DeadLetter(BaseModel):
    """A batch that was given up: what is behind `after`, up to `until`. Replay from `after` to have it sent again."""

    id: str
    after: int
    until: int
    error: str
    at: datetime


class Replay(BaseModel):
    """From where everything is sent again. after: 0 for all that there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int = Field(ge=0)


class Tested(BaseModel):
    """What the receiver answered to a batch without items. error: why it did not take it."""

    delivered: bool
    error: str | None = None


def document_of(webhook: Webhook) -> WebhookDocument:
    """The webhook as one would write it."""
    return WebhookDocument.model_validate({**webhook.document, "name": webhook.name, "enabled": webhook.enabled})


def stored(document: WebhookDocument) -> dict[str, JsonValue]:
    """What stands in the row's document: everything that has no column."""
    return document.model_dump(mode="json", exclude={"name", "enabled"})


def view(webhook: Webhook, *, secret: str | None = None) -> WebhookView:
    """The webhook as it is shown."""
    return WebhookView(
        **document_of(webhook).model_dump(),
        id=webhook.id,
        after=webhook.after,
        attempts=webhook.attempts,
        error=webhook.error,
        delivered_at=webhook.delivered_at,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
        secret=secret,
    )
