"""What may be said of every identity provider, each part checked, unknown ones refused by name.

`oidc_documents`, `oauth2_documents` and `saml_documents` add what is particular to a kind; `provider_kinds` knows them
all, `presets` says what is filled in.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticCustomError

from watchword_admin.client_documents import plain_text
from watchword_admin.provisioning_documents import ClaimPath, DomainName, Provisioning
from watchword_admin.uris import InvalidUri, Network, check_endpoint
from watchword_runtime.outbound import tls_of

# Case-sensitive: it stands in the callback URL that is registered at the provider.
ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"


class InvalidAddress(Exception):
    """An address that Watchword would not call. field: its member."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def printable(value: str) -> str:
    """The text itself. Raises ValueError for one that is not of printable ASCII characters."""
    if not re.fullmatch(r"[ -~]+", value):
        raise ValueError("only printable ASCII characters are accepted")
    return value


def wrong(field: str, reason: str) -> ValidationError:
    """What a rule over several members says, beside the one that has to change."""
    error = PydanticCustomError("provider", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data("provider", [{"type": error, "loc": (field,), "input": None}])


def _authorities(value: str) -> str:
    try:
        tls_of(value)
    except (OSError, ValueError) as error:
        raise ValueError("certificates in PEM are expected") from error
    return value


def _own_address(value: str) -> str:
    if value == "presets":
        raise ValueError("/api/v1/providers/presets is the list of presets: choose another id")
    return value


Url = Annotated[str, Field(max_length=2048)]
Authorities = Annotated[str, Field(max_length=64 * 1024), AfterValidator(_authorities)]
ProviderId = Annotated[str, Field(pattern=ID_PATTERN), AfterValidator(_own_address)]


class ProviderDocument(Provisioning):
    """The settings that every kind of provider has. A secret is never among them.

    kind_of: the protocol.  callback: the path of ours that is registered there.  addresses: the members with addresses
    that Watchword calls, or sends people to.
    domains: of e-mail addresses whose people are led to this provider.  groups_claim: where it tells groups.
    root_ca: PEM; its servers are vouched for by these certificates alone.  insecure_skip_verify: by nobody, which is
    for development.  parameters: what was said of the preset's own fields.  filled: members that the preset made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind_of: ClassVar[str]
    callback: ClassVar[str]
    addresses: ClassVar[tuple[str, ...]]

    display_name: Annotated[str, Field(max_length=64), AfterValidator(plain_text)]
    order: Annotated[int, Field(ge=-1000, le=1000)] = 0
    sign_in: bool = True
    preset: str
    domains: Annotated[tuple[DomainName, ...], Field(max_length=64)] = ()
    groups_claim: ClaimPath | None = None
    root_ca: Authorities | None = None
    insecure_skip_verify: bool = False
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    filled: tuple[str, ...] = ()

    def stored(self) -> dict[str, JsonValue]:
        """The settings as they are kept, with their kind: the preset may be gone when they are read."""
        return {"kind": self.kind_of, **self.model_dump(mode="json")}

    def check_addresses(self, *, allowed: Sequence[Network], demo: bool) -> None:
        """Raises InvalidAddress for the first address that this installation would not call."""
        for field in self.addresses:
            value: str | None = getattr(self, field)
            try:
                if value is not None:
                    check_endpoint(value, allowed=allowed, demo=demo)
            except InvalidUri as error:
                raise InvalidAddress(field, str(error)) from error

    def exported(self) -> dict[str, Any]:
        """The settings as members of ProviderExport."""
        return self.model_dump()

    @classmethod
    def callback_of(cls, public_url: str, provider_id: str) -> str:
        """Where the provider sends people back to."""
        return f"{public_url}{cls.callback}{provider_id}"

    def shown(self, public_url: str, provider_id: str) -> dict[str, Any]:
        """What the API shows of the settings, and what it adds to them."""
        callback = self.callback_of(public_url, provider_id)
        return self.model_dump() | {"callback_url": callback, "warnings": self.risks()}


class Shown(BaseModel):
    """What the API shows of every provider beside its settings; never a secret.

    callback_url: to be registered at the provider, letter by letter.  warnings: what the settings risk.
    """

    id: str
    enabled: bool
    has_client_secret: bool
    has_exchange_secret: bool
    callback_url: str
    warnings: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime
