"""Settings of the directory."""

from pydantic import Field

from watchword_runtime.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """What every service needs, and the size of the connection pool."""

    refused_calls_per_s: float = Field(
        10, gt=0, description="Calls of the administration API without a live credential that one address may make"
    )
    refused_calls_burst: int = Field(600, ge=1, description="Such calls that one address may make at once")
    pool_size: int = Field(4, ge=1, le=50, description="Connections to PostgreSQL that one process keeps")
