"""Settings of the directory."""

from pydantic import Field

from watchword_runtime.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """What every service needs, and the size of the connection pool."""

    pool_size: int = Field(4, ge=1, le=50, description="Connections to PostgreSQL that one process keeps")
