"""What may be said of the installation's looks, each part checked."""

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from watchword_admin.client_documents import plain_text
from watchword_admin.models import Branding
from watchword_admin.uris import InvalidUri, check_link
from watchword_events.exports import BrandingExport, Exported
from watchword_web.branding import PRODUCT
from watchword_web.colours import COLOUR
from watchword_web.images import MAX_TEXT, Image

_MAIL: Final = re.compile(r"mailto:[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def _colour(value: str) -> str:
    if not COLOUR.fullmatch(value.lower()):
        raise ValueError("a colour is # and six hexadecimal digits, for example #0a5c8f")
    return value.lower()


def _picture(value: str) -> str:
    return Image.from_data_url(value).data_url


def _help(value: str) -> str:
    if value.startswith("mailto:"):
        if not _MAIL.fullmatch(value):
            raise InvalidUri("one address is expected behind mailto:")
        return value
    return check_link(value)


Name = Annotated[str, Field(max_length=64), AfterValidator(plain_text)]
Colour = Annotated[str, AfterValidator(_colour)]
Picture = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_picture)]
Link = Annotated[str, AfterValidator(check_link)]
Help = Annotated[str, Field(max_length=2048), AfterValidator(_help)]


class BrandingDocument(BaseModel):
    """What the installation looks like; what is left out is ours.

    primary_color: `#rrggbb`; where text would not be readable with it, a darker or lighter one is shown.  logo: a PNG,
    JPEG or WebP picture as a data URL, of 256 KiB and 2048 pixels a side at the most.  support_uri: a page, or
    `mailto:` and an address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = PRODUCT
    primary_color: Colour | None = None
    logo: Picture | None = None
    policy_uri: Link | None = None
    tos_uri: Link | None = None
    support_uri: Help | None = None


class BrandingView(BrandingDocument):
    """The same as the API shows it. logo_url: where the logo is; the address changes with it."""

    logo_url: str | None
    version: int
    updated_at: datetime


def document_of(branding: Branding) -> BrandingDocument:
    """What is stored; it was checked when it was written."""
    logo = Image.read(branding.logo).data_url if branding.logo else None
    return BrandingDocument.model_validate({**branding.document, "logo": logo})


def exported_of(document: BrandingDocument) -> BrandingExport:
    """The same, as other services know it."""
    return BrandingExport.model_validate(document.model_dump())


def view(branding: Branding, public_url: str) -> BrandingView:
    """What the API answers."""
    document = document_of(branding)
    logo = Image.read(branding.logo) if branding.logo else None
    return BrandingView.model_construct(
        **document.model_dump(),
        logo_url=f"{public_url}/static/brand/{logo.digest}/logo.{logo.suffix}" if logo else None,
        version=branding.version,
        updated_at=branding.updated_at,
    )


def export(branding: Branding) -> Exported[BrandingExport]:
    """What other services copy."""
    return Exported(id=branding.id, version=branding.version, data=exported_of(document_of(branding)))
