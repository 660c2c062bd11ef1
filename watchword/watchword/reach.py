"""Where the servers of an installation are, for a command that works beside it or in its place."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchword.commands.remote import access_of
from watchword.containers import logins
from watchword.embedded.process import StartError
from watchword.installation import DATABASE, Installation
from watchword.supervisor import InUse, alone, servers_of
from watchword_events.names import Service


@dataclass(frozen=True)
class Reach:
    """url: of the database as superuser, urls: as each service's role.  servers: of NATS.

    admin_file: where the first administrator is noted.  access: the file that says so while `watchword up` runs.
    """

    secrets: Path
    installation: Installation = field(repr=False)
    url: str = field(repr=False)
    urls: Mapping[Service, str] = field(repr=False)
    servers: tuple[str, ...]
    admin_file: Path
    access: Path | None = None

    @property
    def token_keys(self) -> str:
        """The derived keys of `token`, as they stand in its directory."""
        return (self.secrets / Service.TOKEN / "keys").read_text()


def reach_of_secrets(secrets: Path, *, database_url: str, nats_url: str) -> Reach:
    """An installation of containers. Raises BrokenInstallation."""
    installation = Installation.load(secrets)
    url, urls = logins(installation, database_url)
    servers = tuple(each.strip() for each in nats_url.split(",") if each.strip())
    return Reach(secrets, installation, url, urls, servers, secrets / "admin.json")


@contextmanager
def reach_of_data(
    data_dir: Path, *, start: bool, pg_bin: str | None = None, nats_bin: str | None = None
) -> Iterator[Reach]:
    """The installation of `watchword up` in a directory.

    start: if it does not run, its servers do during the block, and nothing else. Raises BrokenInstallation, StartError.
    """
    installation = Installation.load(data_dir / "secrets")
    postgres, nats = servers_of(data_dir, installation, pg_bin=pg_bin, nats_bin=nats_bin)
    access = data_dir / "access.json"
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(data_dir))
        except InUse:
            if not access.exists() or not postgres.attach():
                raise StartError(f"`watchword up` on {data_dir} is not ready yet: try again when it is") from None
            servers = (access_of(data_dir)["nats_url"],)
        else:
            if not start:
                raise StartError(f"`watchword up` does not run on {data_dir}: start it")
            access.unlink(missing_ok=True)
            stack.callback(postgres.stop)
            stack.callback(nats.stop)
            postgres.start()
            nats.start()
            servers = (nats.url,)
        urls = {
            service: postgres.url(DATABASE, user=service.role, password=installation.database_passwords[service])
            for service in Service
        }
        yield Reach(
            data_dir / "secrets",
            installation,
            postgres.url(DATABASE),
            urls,
            servers,
            data_dir / "secrets" / "administrator.json",
            access if access.exists() else None,
        )
