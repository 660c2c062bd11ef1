"""Settings of the directory."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from watchword_runtime.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """What every service needs, the pool, whom to ask about domains, and what people may do themselves."""

    pool_size: int = Field(4, ge=1, le=50, description="Connections to PostgreSQL that one process keeps")
    dns_servers: Annotated[list[tuple[str, int]], NoDecode] = Field(
        [],
        description="Name servers that say whether an organization controls a domain, comma separated, each `address` "
        "or `address:port` (`[address]:port` for IPv6); those of the machine when left out",
    )

    self_deletion: bool = Field(True, description="Whether people may delete their account themselves")

    claims_keep_days: int = Field(
        30,
        ge=0,
        le=90,
        description="What a provider says of a person can be read for so many days after their last sign-in through "
        "it; 0 keeps nothing",
    )

    @property
    def claims_keep(self) -> timedelta:
        """As a duration."""
        return timedelta(days=self.claims_keep_days)

    @field_validator("dns_servers", mode="before")
    @classmethod
    def _split_servers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [_place(part.strip()) for part in value.split(",") if part.strip()]


def _place(server: str) -> tuple[str, int]:
    """Address and port of a name server. Raises ValueError."""
    address, port = server, "53"
    if server.startswith("["):
        address, _, rest = server[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif server.count(":") == 1:
        address, _, port = server.partition(":")
    ip_address(address)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("a name server's port is a number up to 65535")
    return address, int(port)
