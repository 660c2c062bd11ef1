"""Settings of the federation service beyond those that every service has."""

from pydantic import Field

from watchword_runtime.settings import ServiceSettings


class FederationSettings(ServiceSettings):
    """How much of it one address may use."""

    federation_address_rate: float = Field(
        50.0, gt=0, description="Upstream sign-ins per second that one address (IPv6: /64) may make of one instance"
    )
    federation_address_burst: int = Field(
        200, ge=1, description="Upstream sign-ins that one address may make of one instance at once"
    )
