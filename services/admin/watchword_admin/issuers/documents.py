"""What may be said of a trusted issuer, each part checked, unknown ones refused by name."""

import re
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from watchword_admin.client_documents import LONGEST_ACCESS_TOKEN_S, plain_text
from watchword_admin.models import TrustedIssuer
from watchword_admin.provider_documents import InvalidAddress
from watchword_admin.uris import InvalidUri, Network, check_endpoint, check_issuer
from watchword_events.exports import Exported, IssuerExport
from watchword_runtime.outbound import tls_of
from watchword_runtime.public_keys import UnusableKeys, usable_keys

MAX_PREFIX: Final = 128
_VISIBLE: Final = re.compile(r"[!-~]+")
_SEPARATORS: Final = ":/|#"
_SCHEME: Final = re.compile(r"^https?://")


def _visible(value: str) -> str:
    if not _VISIBLE.fullmatch(value):
        raise ValueError("only printable ASCII characters without spaces are accepted")
    return value


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _keys(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        usable = usable_keys(value)
    except UnusableKeys as error:
        raise ValueError(str(error)) from error
    if not usable:
        raise ValueError(
            "none of the keys can be used: RSA of 2048 bits and more, P-256 or Ed25519, public, for signing"
        )
    return value


def _authorities(value: str) -> str:
    try:
        tls_of(value)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("certificates in PEM are needed") from error
    return value


Url = Annotated[str, Field(max_length=2048), AfterValidator(_visible)]
Audience = Annotated[str, Field(max_length=255), AfterValidator(_visible)]
Prefix = Annotated[str, Field(max_length=MAX_PREFIX), AfterValidator(_visible)]
Keys = Annotated[dict[str, JsonValue], AfterValidator(_keys)]
Authorities = Annotated[str, Field(max_length=64 * 1024), AfterValidator(_authorities)]


class IssuerDocument(BaseModel):
    """Whose tokens are exchanged, and for what.

    iss: exactly as it stands in the tokens.  aud: of which a token names at least one.  token_expiry_s: how long ours
    live that a token is exchanged for.  subject_prefix: before the subject, so that nobody there can be taken for
    somebody else; when left out, `fed:` and the issuer.  jwks_uri, jwks: where its keys are, or the keys themselves;
    when both are left out, its discovery document says.  root_ca: certificates (PEM) by which alone its servers may be
    vouched for.  Spec: RFC 8693 2.1; RFC 7523 3; OpenID Connect Discovery 4.1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iss: Url
    aud: Annotated[tuple[Audience, ...], Field(min_length=1, max_length=32), AfterValidator(_unique)]
    token_expiry_s: Annotated[int, Field(ge=30, le=LONGEST_ACCESS_TOKEN_S)] = 3600
    subject_prefix: Prefix | None = None
    description: Annotated[str, Field(max_length=1024), AfterValidator(plain_text)] | None = None
    jwks_uri: Url | None = None
    jwks: Keys | None = None
    root_ca: Authorities | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.jwks is not None and self.jwks_uri is not None:
            raise ValueError("jwks: give the keys or where they are, not both")
        if self.jwks is not None and self.root_ca is not None:
            raise ValueError("root_ca: nobody is asked for keys that are given here")
        if len(self.prefix) > MAX_PREFIX:
            raise ValueError(f"subject_prefix: choose one, the issuer is longer than {MAX_PREFIX} characters")
        return self

    @property
    def prefix(self) -> str:
        """What stands before each subject. It ends with a separator, which no id of ours contains."""
        chosen = self.subject_prefix or "fed:" + _SCHEME.sub("", self.iss).rstrip("/")
        return chosen if chosen[-1] in _SEPARATORS else f"{chosen}:"

    def check_addresses(self, *, allowed: Sequence[Network], demo: bool) -> None:
        """Raises InvalidAddress for an address that this installation would not call."""
        field = "iss"
        try:
            if self.jwks is None and self.jwks_uri is None:
                check_issuer(self.iss, allowed=allowed, demo=demo)
            field = "jwks_uri"
            if self.jwks_uri is not None:
                check_endpoint(self.jwks_uri, allowed=allowed, demo=demo)
        except InvalidUri as error:
            raise InvalidAddress(field, str(error)) from error


class IssuerView(IssuerDocument):
    """A trusted issuer as the API shows it. subject_prefix: the one in force."""

    id: str
    version: int
    created_at: datetime
    updated_at: datetime


def document_of(issuer: TrustedIssuer) -> IssuerDocument:
    """The stored settings; they were checked when they were written."""
    return IssuerDocument.model_validate(issuer.document)


def view(issuer: TrustedIssuer) -> IssuerView:
    """What the API answers about a trusted issuer."""
    document = document_of(issuer)
    return IssuerView.model_construct(
        **document.model_dump(exclude={"subject_prefix"}),
        subject_prefix=document.prefix,
        id=issuer.id,
        version=issuer.version,
        created_at=issuer.created_at,
        updated_at=issuer.updated_at,
    )


def export(issuer: TrustedIssuer) -> Exported[IssuerExport]:
    """What other services copy; a removed issuer is a tombstone without data."""
    if issuer.deleted_at is not None:
        return Exported(id=issuer.id, version=issuer.version, deleted=True)
    document = document_of(issuer)
    data = IssuerExport(
        id=issuer.id,
        iss=document.iss,
        aud=frozenset(document.aud),
        token_expiry_s=document.token_expiry_s,
        subject_prefix=document.prefix,
        jwks_uri=document.jwks_uri,
        jwks=document.jwks,
        root_ca=document.root_ca,
    )
    return Exported(id=issuer.id, version=issuer.version, data=data)
