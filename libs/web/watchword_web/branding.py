"""What the pages of an installation look like: its name, colour and logo, and the addresses of its style and picture.

Every service has a `Branding`, which shows ours until it is told of another. Style sheet and logo are served by
whichever service the gateway leads `/static` to; their addresses change with their content. The style sheet follows
from the colour alone, so that an instance that has not heard of a change yet serves the new one all the same.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from watchword_web.assets import immutable
from watchword_web.colours import THEMES, Theme, style_sheet
from watchword_web.images import Image
from watchword_web.texts import Text

PRODUCT: Final = "Watchword"
_SHEET: Final = re.compile(r"([0-9a-f]{6}|ours)(?:-(light|dark))?\.css")
# A picture so much wider than high is taken for the name, written as its owner writes it.
_WORDMARK: Final = 2.0
_HEIGHT: Final = 44


@dataclass(frozen=True, slots=True)
class Brand:
    """What administrators say of their installation. color: as `colours.COLOUR`, None for ours."""

    name: str = PRODUCT
    color: str | None = None
    logo: Image | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    support_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Logo:
    """How a page shows the logo. width, height: in CSS pixels.  is_wordmark: the name is in it, and not beside it."""

    url: str
    width: int
    height: int
    media_type: str
    is_wordmark: bool


@dataclass(frozen=True, slots=True)
class Face:
    """A brand as templates show it. sheet: the address of its style sheet, "" for ours.  links: label and address.

    theme: the one that is shown whatever the browser prefers, None for as it prefers.
    """

    name: str
    logo: Logo | None
    sheet: str
    links: Sequence[tuple[Text, str]]
    theme: Theme | None = None


class Branding:
    """The brand of one service's pages, and the endpoint of a route `…/{path:path}` with its files.

    path: the route's part before `{path:path}`, base path included.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.show(Brand())

    def show(self, brand: Brand) -> None:
        """Pages look like this from now on."""
        self.brand = brand
        themes: tuple[Theme | None, ...] = (None, *THEMES)
        self._faces = {theme: self.face_of(brand, theme=theme) for theme in themes}

    def face(self, theme: Theme | None = None) -> Face:
        """What pages look like now. theme: the one that is to be shown, None for as the browser prefers."""
        return self._faces[theme]

    def face_of(self, brand: Brand, *, theme: Theme | None = None, inline: bool = False) -> Face:
        """A brand as templates show it.

        theme: to show one whatever the browser prefers.  inline: the logo's address is the logo itself, for one that is
        nowhere yet.
        """
        sheet = style_sheet(brand.color, theme)
        name = (brand.color or "#ours")[1:] + (f"-{theme}" if theme else "")
        labelled = (
            (Text("Privacy"), brand.policy_uri),
            (Text("Terms of use"), brand.tos_uri),
            (Text("Help"), brand.support_uri),
        )
        return Face(
            name=brand.name,
            logo=self._logo(brand.logo, inline=inline) if brand.logo else None,
            sheet=f"{self._path}/{_digest(sheet)}/{name}.css" if sheet else "",
            links=[(label, uri) for label, uri in labelled if uri],
            theme=theme,
        )

    def _logo(self, image: Image, *, inline: bool) -> Logo:
        url = image.data_url if inline else f"{self._path}/{image.digest}/logo.{image.suffix}"
        width = max(1, round(_HEIGHT * image.width / image.height))
        return Logo(url, width, _HEIGHT, image.media_type, image.width > _WORDMARK * image.height)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        path: str = scope["path_params"]["path"]
        asked, _, name = path.partition("/")
        if (sheet := _SHEET.fullmatch(name)) is not None:
            colour = None if sheet[1] == "ours" else f"#{sheet[1]}"
            theme = next((each for each in THEMES if each == sheet[2]), None)
            body = style_sheet(colour, theme)
            return immutable(scope, body.encode(), "text/css; charset=utf-8", _digest(body), asked)
        logo = self.brand.logo
        if logo is not None and name.startswith("logo."):
            return immutable(scope, logo.body, logo.media_type, logo.digest, asked)
        return Response("Not found", 404, media_type="text/plain")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
