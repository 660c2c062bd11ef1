"""What the installation looks like, on the pages of a service: as admin says, within moments, without a restart."""

from collections.abc import Sequence

import structlog

from watchword_database.base import CopyColumns
from watchword_events.exports import BrandingExport
from watchword_runtime.backbone import Backbone
from watchword_runtime.copies import Copy
from watchword_web.branding import Brand
from watchword_web.images import Image, UnusableImage
from watchword_web.pages import Pages

log = structlog.get_logger()


def follow_branding(backbone: Backbone, table: type[CopyColumns], pages: Pages) -> Copy[BrandingExport]:
    """The pages look as the service's copy says; as ours while there is none, and as before while nobody can know.

    Comes back with the copy, for the durable consumer `<service>-branding`.
    """
    copy = backbone.copy("branding", table, BrandingExport)
    book = backbone.book("branding", copy, _the_only_one)
    book.on_change(lambda: pages.branding.show(book.page))
    return copy


def _the_only_one(exports: Sequence[BrandingExport]) -> Brand:
    """The brand of the only installation there is; ours when nobody has chosen another."""
    return brand_of(exports[0]) if exports else Brand()


def brand_of(said: BrandingExport) -> Brand:
    """What admin says, as pages show it."""
    return Brand(
        name=said.name,
        color=said.primary_color,
        logo=_logo(said.logo),
        policy_uri=said.policy_uri,
        tos_uri=said.tos_uri,
        support_uri=said.support_uri,
    )


def _logo(url: str | None) -> Image | None:
    if url is None:
        return None
    try:
        return Image.from_data_url(url)
    except UnusableImage as error:  # of a release that takes more kinds than this one
        log.warning("branding.logo_not_shown", reason=str(error))
        return None
