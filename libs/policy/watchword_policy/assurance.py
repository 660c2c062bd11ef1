"""How well a sign-in proved who somebody is: the levels that applications may ask for by name (`acr`).

A level follows from the methods that were used (`amr`, RFC 8176). An identity provider may have a name of its own for
what it did; it is passed on as it is, and counts for who asks for exactly that name.
"""

from collections.abc import Collection
from typing import Final

ONE_FACTOR: Final = "urn:watchword:acr:1fa"
TWO_FACTORS: Final = "urn:watchword:acr:2fa"
LEVELS: Final = (ONE_FACTOR, TWO_FACTORS)  # the weakest first

# RFC 8176 2: what a method shows. Two of the same kind are one factor.
_KINDS: Final = {
    "pwd": "knowledge", "pin": "knowledge", "kba": "knowledge",
    "otp": "possession", "hwk": "possession", "swk": "possession", "sc": "possession", "sms": "possession",
    "tel": "possession",
    "fpt": "inherence", "face": "inherence", "iris": "inherence", "retina": "inherence", "vbm": "inherence",
}  # fmt: skip


def level_of(amr: Collection[str]) -> str:
    """The level of a sign-in by its methods; one factor where they say nothing. Spec: RFC 8176 2."""
    kinds = {_KINDS[method] for method in amr if method in _KINDS}
    return TWO_FACTORS if "mfa" in amr or len(kinds) > 1 else ONE_FACTOR


def is_met(wanted: Collection[str], *, acr: str | None, amr: Collection[str]) -> bool:
    """Whether a sign-in is one of what was asked for, or better; nothing asked for is met by all.

    acr: the identity provider's own name for it.  Spec: RFC 9470 5; OpenID Connect Core 5.5.1.1.
    """
    if not wanted or acr in wanted:
        return True
    return any(level in wanted for level in LEVELS[: LEVELS.index(level_of(amr)) + 1])


def is_ours(wanted: Collection[str]) -> bool:
    """Whether one of the levels asked for is one that is judged here, so that it is known when it is not met."""
    return any(level in wanted for level in LEVELS)


def stated(wanted: Collection[str], *, acr: str | None, amr: Collection[str]) -> str:
    """What tokens call the sign-in: what was asked for where it is met, else the provider's name, else our level.

    Spec: RFC 9470 6.1; OpenID Connect Core 2.
    """
    if acr is not None and (acr in wanted or not is_ours(wanted)):
        return acr
    reached = LEVELS[: LEVELS.index(level_of(amr)) + 1]
    return next((level for level in reversed(reached) if level in wanted), acr or reached[-1])
