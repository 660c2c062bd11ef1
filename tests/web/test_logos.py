"""Logos of identity providers: small drawings, in the colour of the text or their owner's, that can do nothing."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import watchword_web
from watchword_web.logos import PICTURES, logo_of

FOLDER = Path(watchword_web.__file__).parent / "logos"
FILES = sorted(FOLDER.glob("*.svg"))
PRESETS = Path(__file__).parents[2] / "services/admin/watchword_admin/provider_presets"
# Those that stand for any provider.
GENERAL = {"oidc", "oauth2", "saml"}
TAGS = {"svg", "path"}
ATTRIBUTES = {"viewBox", "width", "height", "fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin"} | {
    "aria-hidden", "d", "transform",
}  # fmt: skip

# https://developers.google.com/identity/branding-guidelines
# https://learn.microsoft.com/en-us/entra/identity-platform/howto-add-branding-in-apps
COLOURS = {
    "google": ["#FFFFFF", "#4285F4", "#34A853", "#FBBC05", "#EA4335"],
    "microsoft": ["#F25022", "#7FBA00", "#00A4EF", "#FFB900"],
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_logo_is_a_drawing_and_nothing_else(file: Path) -> None:
    text = file.read_text()
    root = ElementTree.fromstring(text)
    for element in root.iter():
        assert element.tag in TAGS
        assert set(element.attrib) <= ATTRIBUTES
    assert (root.get("aria-hidden"), root.get("viewBox")) == ("true", "0 0 24 24")
    if file.stem in COLOURS:
        assert [each.get("fill") for each in root] == COLOURS[file.stem]
    else:
        assert "currentColor" in (root.get("fill"), root.get("stroke"))
        assert not re.search(r"#[0-9a-fA-F]{3}", text)
        assert not any(each.get("fill") for each in root)
    assert not re.search(r"url|https?:|<!", text)
    assert len(text) < 4000


def test_every_preset_has_a_picture_but_those_for_any_provider() -> None:
    assert set(PICTURES) == {each.stem for each in PRESETS.glob("*.yaml")} - GENERAL
    assert set(PICTURES.values()) == {file.stem for file in FILES}
    for preset in PICTURES:
        assert str(logo_of(preset)).startswith("<svg ")
    assert logo_of("oidc") is logo_of('"><script>') is None


def test_those_who_ask_for_their_colours_have_them() -> None:
    assert (PICTURES["google"], PICTURES["entra"]) == ("google", "microsoft")


def test_every_picture_says_where_it_is_from() -> None:
    said = (FOLDER / "LICENSES.md").read_text()
    assert set(re.findall(r"`(\w+)\.svg`", said)) == {file.stem for file in FILES}
