"""The one-shot jobs of a container installation: secrets as files, migrations, provisioning."""

import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import structlog
from sqlalchemy.engine import make_url

from watchword.bootstrap import administrator, console
from watchword.installation import Installation
from watchword.nats_conf import render, render_cluster
from watchword.provision import connected, provision, watch
from watchword.schema import migrated
from watchword_events.names import Service
from watchword_runtime import logging
from watchword_runtime.clock import utc_now

log = structlog.get_logger()

_NATS_STORE = "/data/jetstream"
_NATS_NODES = ("nats:6222", "nats-2:6222", "nats-3:6222")


def save_for_containers(installation: Installation, directory: Path, *, database: str, owner: str | None) -> None:
    """`directory` has a sub-directory for each container. database: `host:port/name`.  owner: `uid:gid` or None."""
    more = {f"{service}/database_url": service_url(installation, service, database) for service in Service}
    more["nats/nats.conf"] = render(
        installation.nats_public_keys(),
        port=4222,
        store=_NATS_STORE,
        host="0.0.0.0",  # noqa: S104 - inside a container, on a network of its own
        monitor="127.0.0.1:8222",
    )
    more["nats/cluster.conf"] = render_cluster(_NATS_NODES, password=secrets.token_urlsafe(24))
    installation.save(directory, more)
    if owner is not None:
        give(owner, (directory, *directory.rglob("*")))


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
    parts = make_url(url)
    if parts.password is None:
        parts = parts.set(password=installation.superuser_password)
    await migrated(parts.render_as_string(hide_password=False), installation)
    urls = {
        service: parts.set(username=service.role, password=installation.database_passwords[service]).render_as_string(
            hide_password=False
        )
        for service in Service
    }
    await console(urls[Service.ADMIN], public_url=public_url, now=utc_now())
    log.info("migrate.done")
    if admin_file is not None:
        await administrator(admin_file, urls, now=utc_now())
        log.info("administrator.noted", file=str(admin_file), hint="user name, password and API key are in this file")


async def provision_for(nats_url: str, seed: str, *, watching: bool, replicas: int, say: Callable[[str], None]) -> None:
    """Streams and durables exist; with `watching` this goes on until the process is ended."""
    async with connected([each.strip() for each in nats_url.split(",")], seed) as client:
        js = client.jetstream()
        changed = await provision(js, replicas=replicas)
        say(f"Created or changed: {', '.join(changed) or 'nothing'}.")
        if watching:
            logging.configure("provision")
            await watch(js, replicas=replicas)
