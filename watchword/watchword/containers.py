"""The one-shot jobs of a container installation: secrets as files, migrations, provisioning."""

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import structlog
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from watchword.bootstrap import administrator, console
from watchword.embedded.process import write_private
from watchword.grants import Grant, grants_path, load_grants
from watchword.installation import BrokenInstallation, Installation
from watchword.nats_conf import render_cluster
from watchword.provision import connected, provision, watch
from watchword.schema import migrated
from watchword.teams import container_text
from watchword_events.names import Service
from watchword_runtime import logging
from watchword_runtime.clock import utc_now

log = structlog.get_logger()

_POSTGRESQL = frozenset({"postgresql", "postgres"})
_NATS_NODES = ("nats:6222", "nats-2:6222", "nats-3:6222")


def save_for_containers(
    installation: Installation,
    directory: Path,
    *,
    database: str,
    owner: str | None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """`directory` has a sub-directory for each container. database: `host:port/name`.  owner: `uid:gid` or None.

    environment: says where the master key is kept.
    """
    more = {f"{service}/database_url": service_url(installation, service, database) for service in Service}
    more["nats/nats.conf"] = container_text(installation)
    more["nats/cluster.conf"] = render_cluster(_NATS_NODES, password=secrets.token_urlsafe(24))
    installation.save(directory, more, environment=environment)
    if owner is not None:
        give(owner, (directory, *directory.rglob("*")))


def configure_nats(directory: Path, *, owner: str | None) -> None:
    """nats.conf is what this version makes of the secrets and grants in `directory`, for the next start."""
    path = directory / "nats" / "nats.conf"
    write_private(path, container_text(Installation.load(directory), load_grants(grants_path(directory))))
    if owner is not None:
        give(owner, (path,))


def give(owner: str, paths: Iterable[Path]) -> None:
    """The paths belong to an account. owner: `uid:gid`, or the uid alone for both."""
    uid, _, gid = owner.partition(":")
    for path in paths:
        os.chown(path, int(uid), int(gid or uid))


def service_url(installation: Installation, service: Service, database: str) -> str:
    """The URL of `host:port/name` as the role of a service."""
    return f"postgresql://{service.role}:{quote(installation.database_passwords[service], safe='')}@{database}"


async def migrate_once(installation: Installation, url: str, *, public_url: str, admin_file: Path | None) -> None:
    """The database is up to date; the first administrator exists when `admin_file` is given, and is noted there.

    public_url: where the console will be.

    url: as a superuser; a missing password is the installation's.
    """
    logging.configure("migrate")
    whole, urls = logins(installation, url)
    await migrated(whole, installation)
    await console(urls[Service.ADMIN], public_url=public_url, now=utc_now())
    log.info("migrate.done")
    if admin_file is not None:
        await administrator(admin_file, urls, now=utc_now())
        log.info("administrator.noted", file=str(admin_file), hint="user name, password and API key are in this file")


class UnusableUrl(BrokenInstallation):
    """What should name the database does not; the text never repeats it, because it may hold a password."""


def logins(installation: Installation, url: str) -> tuple[str, dict[Service, str]]:
    """The superuser's URL with its password, and the URL of each service's role. url: as superuser.

    Raises UnusableUrl.
    """
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = URL.create("")
    if parts.drivername not in _POSTGRESQL or not parts.database or not 0 < (parts.port or 1) < 1 << 16:
        raise UnusableUrl(
            "WATCHWORD_DATABASE_URL (--database-url) is no URL of a PostgreSQL database: "
            "postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ and %2F for a / in a password"
        )
    if parts.password is None:
        parts = parts.set(password=installation.superuser_password)
    urls = {
        service: parts.set(username=service.role, password=installation.database_passwords[service]).render_as_string(
            hide_password=False
        )
        for service in Service
    }
    return parts.render_as_string(hide_password=False), urls


async def provision_for(
    nats_url: str, seed: str, *, watching: bool, replicas: int, grants: Path | None, say: Callable[[str], None]
) -> None:
    """Streams and durables exist; with `watching` this goes on until the process is ended. grants: their file."""

    def granted() -> Sequence[Grant]:
        return load_grants(grants) if grants is not None else ()

    async with connected([each.strip() for each in nats_url.split(",")], seed) as client:
        js = client.jetstream()
        changed = await provision(js, replicas=replicas, grants=granted())
        say(f"Created or changed: {', '.join(changed) or 'nothing'}.")
        if watching:
            logging.configure("provision")
            await watch(js, replicas=replicas, grants=granted)
