"""Settings of the token service, beyond those that every service has."""

from pydantic import Field

from watchword_runtime.settings import LONGEST_S, ServiceSettings


class TokenSettings(ServiceSettings):
    """`WATCHWORD_TOKEN_…`: limits and the sizes of what is kept in memory."""

    token_client_rate: int = Field(
        40_000, ge=1, description="Requests per second that one client may make of one instance"
    )
    token_address_rate: int = Field(
        40_000, ge=1, description="Requests per second that one address may make of one instance"
    )
    token_failure_rate: float = Field(
        5.0, gt=0, description="Refused credentials, codes and tokens per second that one address gets away with"
    )
    token_failure_burst: int = Field(
        100, ge=1, description="Refused credentials, codes and tokens that one address may present at once"
    )
    token_cached_users: int = Field(
        50_000, ge=1, description="Users whose claims one instance keeps in memory (about 0.5 KB each)"
    )
    token_cached_signatures: int = Field(
        20_000, ge=1, description="Tokens whose signature one instance remembers having verified (about 0.1 KB each)"
    )
    token_logout_retry_s: int = Field(
        86_400,
        ge=60,
        le=LONGEST_S,
        description="How long it is tried to tell a client over the back channel that a session ended",
    )
    token_dpop_nonces: bool = Field(
        True, description="Whether a DPoP proof has to carry a nonce of ours; they change every minute"
    )
    token_jwks_max_age_s: int = Field(
        300, ge=1, le=86_400, description="How long others may keep the JWKS; a new key signs no sooner than that"
    )
    token_key_lifetime_s: int = Field(
        90 * 86_400, ge=600, le=LONGEST_S, description="How long a key makes tokens before its successor takes over"
    )
