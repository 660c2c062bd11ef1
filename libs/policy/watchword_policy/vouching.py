"""When a provider's word makes an address a verified one."""

from collections.abc import Mapping
from typing import Final, Literal

Trust = Literal["claim", "claim_or_text", "google", "always", "never"]
_TRUE: Final = frozenset({"true", "1"})
_GOOGLE: Final = ("@gmail.com", "@googlemail.com")


def vouches_for(email: str, claims: Mapping[str, object], trust: Trust) -> bool:
    """Whether the provider vouches for the address. Only the boolean is a statement, except where a provider is known
    to write it as a text (threat 41).
    """
    said = claims.get("email_verified")
    match trust:
        case "always":
            return True
        case "never":
            return False
        case "claim":
            return said is True
        case "claim_or_text":
            return said is True or (isinstance(said, str | int) and str(said).lower() in _TRUE)
        case "google":
            # Google is the authority for its own domain and for those of a Workspace; others may have moved on.
            domain = claims.get("hd")
            has_domain = isinstance(domain, str) and bool(domain.strip())
            return said is True and (email.lower().endswith(_GOOGLE) or has_domain)
