"""The pictures of the documentation: taken while the stories are told, with a note of what they were drawn from.

`make pictures` takes them again; `tests/contracts/test_links.py` fails when a screen has changed since its picture.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from playwright.async_api import Page

ROOT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = ROOT / "docs" / "images"
NOTES: Final = IMAGES / "pictures.json"

_WEB: Final = ("base.html", "macros.html", "../static/watchword.css")
_FRAME: Final = ("console/layout.html", "console/parts.html", "../static/console.css")
_PLACES: Final = {
    "web": "libs/web/watchword_web/templates",
    "authz": "services/authz/watchword_authz/templates",
    "admin": "services/admin/watchword_admin/templates",
    "demo": "watchword/watchword/demo/templates",
}
# What each picture is drawn from, by place.
SCREENS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "login": {"web": _WEB, "authz": ("login.html",)},
    "sign-in": {"demo": ("base.html", "signed_in.html", "../static/demo.css")},
    "console": {"web": _WEB, "admin": (*_FRAME, "console/overview.html")},
    "console-provider": {"web": _WEB, "admin": (*_FRAME, "console/provider_form.html")},
    "console-branding": {
        "web": _WEB,
        "admin": (*_FRAME, "console/branding.html", "console/branding_preview.html"),
    },
    "console-revocation": {"web": _WEB, "admin": (*_FRAME, "console/revocation.html", "console/receipts.html")},
}


def drawn_from(name: str) -> str:
    """A digest of the templates and styles that make a screen."""
    digest = hashlib.sha256()
    for place, files in SCREENS[name].items():
        for file in files:
            digest.update((ROOT / _PLACES[place] / file).resolve().read_bytes())
    return digest.hexdigest()[:16]


async def picture(page: Page, name: str) -> None:
    """Taken in both themes, if pictures are wanted."""
    if "WATCHWORD_PICTURES" not in os.environ:
        return
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.evaluate("scrollTo(0, 0)")
    for scheme, suffix in (("dark", "-dark"), ("light", "")):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal of Playwright's
        await page.screenshot(path=IMAGES / f"{name}{suffix}.png", animations="disabled")
    notes = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    NOTES.write_text(json.dumps(notes | {name: drawn_from(name)}, indent=2, sort_keys=True) + "\n")
