"""Which scope opens which claims about a person."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

# Spec: OpenID Connect Core 5.4; `groups` is what Dex, Argo and Grafana call theirs.
CLAIMS_BY_SCOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "profile": (
        "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "username", "profile",
        "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
    ),
    "email": ("email", "email_verified"),
    "phone": ("phone_number", "phone_number_verified"),
    "address": ("address",),
    "groups": ("groups",),
    "groupstring": ("groupstring",),  # the same as one text of JSON, for programs that take no arrays
    "customer": ("customer_id", "domain_id", "customer_shortname", "customer_name"),
    "clientip": ("client_ip",),  # of a session, not of the person: where it was begun
}  # fmt: skip
SCOPE_OF: Final[Mapping[str, str]] = {claim: scope for scope, claims in CLAIMS_BY_SCOPE.items() for claim in claims}


def within(claims: Iterable[str], scope: Collection[str]) -> tuple[str, ...]:
    """Those of the claims that one of the scopes would open, each once. Spec: OpenID Connect Core 5.5."""
    return tuple(claim for claim in dict.fromkeys(claims) if SCOPE_OF.get(claim) in scope)
