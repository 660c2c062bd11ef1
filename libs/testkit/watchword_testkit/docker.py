"""Servers from Docker by testcontainers, wherever a Docker engine answers."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES_IMAGE = "postgres:18"
NATS_IMAGE = "nats:2.12"


def has_docker() -> bool:
    """Whether a Docker engine answers at DOCKER_HOST or its usual socket."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, rest = host.partition("://")
    try:
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(2)
                probe.connect(rest)
                probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
                return probe.recv(12).startswith(b"HTTP/1.")
        name, _, port = rest.partition(":")
        with socket.create_connection((name, int(port or 2375)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


@dataclass
class DockerPostgres:
    """PostgreSQL in a container of its own."""

    container: PostgresContainer

    @classmethod
    def started(cls) -> "DockerPostgres":
        """A server that accepts connections."""
        return cls(PostgresContainer(POSTGRES_IMAGE, driver=None).start())

    @property
    def url(self) -> str:
        return self.container.get_connection_url()

    def stop(self) -> None:
        """The container is removed."""
        self.container.stop()


class DockerNats:
    """nats-server in a container of its own, on a port that survives a restart."""

    def __init__(self, port: int, configuration: Path) -> None:
        self.port = port
        self._container = (
            DockerContainer(NATS_IMAGE)
            .with_command("-c /etc/nats/test.conf")
            .with_volume_mapping(str(configuration), "/etc/nats/test.conf", "ro")
            .with_bind_ports(4222, port)
            .waiting_for(LogMessageWaitStrategy("Server is ready"))
        )

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """The server accepts connections; its streams are those of before."""
        if self._container.get_wrapped_container() is None:
            self._container.start()
        else:
            self._container.get_wrapped_container().start()

    def stop(self) -> None:
        """The server has ended in order; the container stays for a restart."""
        self._container.get_wrapped_container().stop(timeout=10)

    def kill(self) -> None:
        """The server died at once."""
        self._container.get_wrapped_container().kill()

    def freeze(self) -> None:
        """The server stands still, its connections open, until thaw()."""
        self._container.get_wrapped_container().pause()

    def thaw(self) -> None:
        """The server goes on, unless it was killed meanwhile."""
        container = self._container.get_wrapped_container()
        container.reload()
        if container.status == "paused":
            container.unpause()

    def restart(self) -> None:
        """A clean stop, then a start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Nothing of it is left."""
        self._container.stop()
