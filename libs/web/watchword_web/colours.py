"""The colour of an installation, so drawn that everybody can read it.

Whatever colour is chosen, what is drawn with it stands out from every ground of both themes: text and links as WCAG 2.2
1.4.3 (AA) asks for, buttons and outlines as 1.4.11 does. A colour that does not is darkened by day and lightened by
night, in small steps, until it does. Grounds and inks are read from our own style sheet, so that there is one truth.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

Theme = Literal["light", "dark"]
Values = Mapping[str, str]

TEXT: Final = 4.5
OUTLINE: Final = 3.0
COLOUR: Final = re.compile(r"#[0-9a-f]{6}")
_BLACK, _WHITE = "#000000", "#ffffff"
_STEPS: Final = 64
_HOVER: Final = 0.18
_GLOW: Final = 0.12
_SHEET: Final = (files("watchword_web") / "static" / "watchword.css").read_text()
_BLOCKS: Final = [
    dict(re.findall(r"--([\w-]+): ([^;]+);", block)) for block in re.findall(r":root \{([^}]*)\}", _SHEET)
]
# What watchword.css says of each theme; the night says only what differs.
THEMES: Final[Mapping[Theme, Values]] = {"light": _BLOCKS[0], "dark": _BLOCKS[0] | _BLOCKS[1]}
_GROUNDS: Final = ("paper", "card", "fill")
_FAR: Final[Mapping[Theme, str]] = {"light": _BLACK, "dark": _WHITE}


def luminance(colour: str) -> float:
    """How bright a colour is, 0 to 1: the relative luminance of WCAG 2.2."""
    red, green, blue = (_linear(channel) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """How far two colours are apart, 1 to 21: the contrast ratio of WCAG 2.2."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def mixed(colour: str, other: str, share: float) -> str:
    """The colour with so much of another in it."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(own + (foreign - own) * share):02x}" for own, foreign in pairs)


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on the colour: 4.58 at the least, since no colour is far from both."""
    return max((_WHITE, _BLACK), key=lambda ink: contrast(ink, colour))


def palette(colour: str, theme: Theme) -> dict[str, str]:
    """What the colour changes in a theme, by the names of our style sheet. colour: as COLOUR."""
    accent = _standing_out(colour, theme, OUTLINE)
    ink = ink_on(accent)
    return {
        "accent": accent,
        "accent-over": mixed(accent, _BLACK if ink == _WHITE else _WHITE, _HOVER),  # away from its text
        "on-accent": ink,
        "link": _standing_out(colour, theme, TEXT),
        "ring": accent,
        "glow": mixed(THEMES[theme]["paper"], colour, _GLOW),
    }


@lru_cache(maxsize=64)
def style_sheet(colour: str | None, theme: Theme | None = None) -> str:
    """The style sheet that gives our pages this colour, behind watchword.css.

    colour: as COLOUR, None for ours.  theme: to show one whatever the browser prefers.
    """
    if theme is not None:
        values = {**THEMES[theme], **(palette(colour, theme) if colour else {})}
        return f":root {{ color-scheme: {theme}; {_declared(values)} }}\n"
    if colour is None:
        return ""
    day, night = (_declared(palette(colour, each)) for each in THEMES)
    return f":root {{ {day} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {night} }} }}\n"


def _standing_out(colour: str, theme: Theme, ratio: float) -> str:
    """The colour nearest to this one that has the ratio to every ground of the theme."""
    grounds = [THEMES[theme][name] for name in _GROUNDS]
    for step in range(_STEPS):
        found = mixed(colour, _FAR[theme], step / _STEPS)
        if all(contrast(found, ground) >= ratio for ground in grounds):
            return found
    return _FAR[theme]


def _declared(values: Values) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _linear(channel: int) -> float:
    share = channel / 255
    linear: float = share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
    return linear
