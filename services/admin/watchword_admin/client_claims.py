"""What a client is told of a person's groups, and how much it can keep."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from watchword_policy.claims import SCOPE_OF
from watchword_policy.patterns import Pattern
from watchword_policy.rules import CLAIMS as RULE_CLAIMS

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._:/#-]{0,127}")
# RFC 7519 4.1, RFC 9068 2.2, OpenID Connect Core 2, 3.3.2.11 and 5.1, RFC 7662 2.2, and what Watchword itself says.
_TAKEN: Final = frozenset(
    {
        "acr", "act", "active", "amr", "at_hash", "aud", "auth_time", "authorization_details", "azp", "c_hash",
        "client_id", "cnf", "events", "exp", "gid", "iat", "idp", "iss", "jti", "may_act", "nbf", "nonce",
        "permissions", "rev", "s_hash", "scope", "sid", "sub", "sub_id", "token_type", "userinfo_claims", "username",
        *(SCOPE_OF.keys() - {"groups"}), *RULE_CLAIMS,
    }
)  # fmt: skip


def _claim(value: str) -> str:
    """A name for the claim of groups; what says something else in a token already is not to be had."""
    if not _NAME.fullmatch(value):
        raise ValueError("a claim's name has 1 to 128 letters, digits and . _ : / # -, a letter first")
    if value in _TAKEN:
        raise ValueError("this claim says something else")
    return value


def _pattern(value: str) -> str:
    return Pattern(value).text  # InvalidPattern is a ValueError, and says why


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


class ClientClaims(BaseModel):
    """groups_claim: the name under which the client is told of groups.

    groups_filter: regular expressions (RE2), of which one must match the name of a group; none for all groups.
    max_token_bytes: the longest token that the client can keep, for example in a cookie of 4096 bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups_claim: Annotated[str, AfterValidator(_claim)] = "groups"
    groups_filter: Annotated[
        tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(max_length=32), AfterValidator(_unique)
    ] = ()
    max_token_bytes: Annotated[int, Field(ge=512, le=64 * 1024)] | None = None
