"""Whatever colour somebody chooses, it can be read, by day and by night."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_web.colours import OUTLINE, TEXT, THEMES, Theme, contrast, ink_on, palette, style_sheet

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
GROUNDS = ("paper", "card", "fill")


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        pytest.param("#000000", "#ffffff", 21.0, id="the most"),
        pytest.param("#777777", "#777777", 1.0, id="the least"),
        pytest.param("#767676", "#ffffff", 4.54, id="the palest grey for text on white"),
        pytest.param("#ff0000", "#ffffff", 4.0, id="red"),
    ],
)
def test_contrast_is_what_others_measure(one: str, other: str, ratio: float) -> None:
    assert round(contrast(one, other), 2) == round(contrast(other, one), 2) == ratio


def test_our_own_colours_are_read_from_our_style_sheet() -> None:
    assert (THEMES["light"]["paper"], THEMES["dark"]["paper"]) == ("#f6f2ea", "#10151d")
    for theme in THEMES.values():
        assert all(re.fullmatch(r"#[0-9a-f]{6}", theme[name]) for name in (*GROUNDS, "ink", "soft", "link", "accent"))
        for ground in GROUNDS:
            assert min(contrast(theme[name], theme[ground]) for name in ("ink", "soft", "link")) >= TEXT
        assert contrast(theme["on-accent"], theme["accent"]) >= TEXT


@given(COLOURS, st.sampled_from(["light", "dark"]))
def test_every_colour_can_be_read_in_both_themes(colour: str, theme: Theme) -> None:
    values = palette(colour, theme)
    for ground in GROUNDS:
        assert contrast(values["link"], THEMES[theme][ground]) >= TEXT
        assert contrast(values["accent"], THEMES[theme][ground]) >= OUTLINE
        assert contrast(values["ring"], THEMES[theme][ground]) >= OUTLINE
    for under in ("accent", "accent-over"):
        assert contrast(values["on-accent"], values[under]) >= TEXT
    assert contrast(THEMES[theme]["ink"], values["glow"]) >= TEXT
    assert contrast(ink_on(colour), colour) >= TEXT


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert palette("#0a5c8f", "light")["accent"] == palette("#0a5c8f", "light")["link"] == "#0a5c8f"
    assert palette("#f0b455", "dark")["link"] == "#f0b455"
    assert palette("#ffff00", "light")["link"] != "#ffff00"


@given(COLOURS, st.sampled_from([None, "light", "dark"]))
def test_a_style_sheet_says_nothing_but_colours(colour: str, theme: Theme | None) -> None:
    sheet = style_sheet(colour, theme)
    assert "url(" not in sheet
    assert "@import" not in sheet
    assert sheet.count("{") == sheet.count("}")
    assert ("prefers-color-scheme" in sheet) is (theme is None)


def test_ours_needs_no_style_sheet_unless_a_theme_is_asked_for() -> None:
    assert style_sheet(None) == ""
    assert "color-scheme: dark; --paper: #10151d;" in style_sheet(None, "dark")
