"""Logos of identity providers, drawn into pages in the colour of the text around them; Google and Microsoft want theirs
in their own colours, Google on white in both themes.

A preset has its provider's own logo where that may be passed on, else a plain picture of what it is. The presets that
stand for any provider have none: the first letters of their providers' names tell those apart. `logos/LICENSES.md`
says where each file is from.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from markupsafe import Markup

# The file of `logos` for each preset.
PICTURES: Final = {
    "adfs": "building",
    "adfs-saml": "building",
    "apple": "apple",
    "auth0": "auth0",
    "bitbucket": "bitbucket",
    "cognito": "aws",
    "discord": "discord",
    "entra": "microsoft",
    "github": "github",
    "gitlab": "gitlab",
    "google": "google",
    "jumpcloud": "key",
    "keycloak": "key",
    "keycloak-saml": "building",
    "linkedin": "linkedin",
    "okta": "okta",
    "onelogin": "key",
    "pingfederate": "building",
    "pingone": "key",
    "slack": "slack",
}


def logo_of(preset: str) -> Markup | None:
    """The picture for providers of a preset, as an element that screen readers pass over; None where there is none."""
    return _read(PICTURES[preset]) if preset in PICTURES else None


@cache
def _read(name: str) -> Markup:
    return Markup((files("watchword_web") / "logos" / f"{name}.svg").read_text().strip())  # noqa: S704  # a file of ours
