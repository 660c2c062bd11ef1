"""nats.conf: one account, a user for each service, and to each user only the subjects that are its own.

What a service may publish: its own events, hints and presence under `sys.`, and the JetStream calls that its durables
and tails need. What it may hear: events, the feed, hints, and its own inbox prefix, so that nobody reads another's
replies. Permissions are not the only guard: no event grants authority, the row in PostgreSQL decides.
"""

from collections.abc import Mapping, Sequence

from watchword.installation import NatsUser, Operator
from watchword_events.catalogue import CATALOGUE, durables
from watchword_events.names import Service

FEED_STREAM = "FEED"


def render(
    public_keys: Mapping[NatsUser, str], *, port: int, store: str, host: str = "127.0.0.1", monitor: str | None = None
) -> str:
    """The text of nats.conf. monitor: `host:port` of the monitoring endpoint, which knows no authentication."""
    users = "\n".join(f"      {_user(public_keys[service], service)}" for service in Service)
    return f"""# Generated: who may say and hear what. Public keys only; the seeds are with the services.
listen: "{host}:{port}"
server_name: watchword
{f'http: "{monitor}"' if monitor else ""}
jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 8GB, sync_interval: always }}
max_payload: 64KB
max_connections: 1000
ping_interval: "5s"
ping_max: 2
write_deadline: "5s"
system_account: SYS
accounts {{
  SYS {{ users: [ {{ nkey: {public_keys[Operator.SYSTEM]} }} ] }}
  WATCHWORD {{
    # six streams of 256 MB; in a cluster each of three replicas counts
    jetstream: {{ max_memory: 32MB, max_file: 6GB, max_streams: 10, max_consumers: 500 }}
    users: [
      {{ nkey: {public_keys[Operator.PROVISION]} }}
{users}
    ]
  }}
}}
"""


def render_cluster(nodes: Sequence[str], *, password: str, listen: str = "0.0.0.0:6222") -> str:
    """The text of cluster.conf, for each of several servers; it stands beside nats.conf and goes on from it.

    nodes: `host:port` of every server's routes.  password: what a server shows the others, URL-safe. The environment
    variable WATCHWORD_NATS_NAME names the server.
    """
    routes = ", ".join(f'"nats://route:{password}@{node}"' for node in nodes)
    return f"""# Generated: one server of a cluster. Whoever knows the password may join it.
include "./nats.conf"
server_name: $WATCHWORD_NATS_NAME
cluster {{
  name: watchword
  listen: "{listen}"
  authorization {{ user: route, password: "{password}", timeout: 2 }}
  routes: [{routes}]
}}
"""


def _user(public_key: str, service: Service) -> str:
    publish, subscribe = publishes(service), subscribes(service)
    return (
        f"{{ nkey: {public_key}, permissions: {{ publish: {{ allow: {_list(publish)} }}, "
        f"subscribe: {{ allow: {_list(subscribe)} }} }} }}"
    )


def publishes(service: Service) -> list[str]:
    """The subjects on which a service may publish."""
    allowed = [f"auth.{service}.>", "sys.>", f"$JS.API.STREAM.INFO.{service.stream}", "$JS.FC.>"]
    if service is Service.TOKEN:
        allowed += ["feed.>", f"$JS.API.STREAM.INFO.{FEED_STREAM}"]
    for owner in Service:
        if service in _readers(owner):
            allowed += [f"$JS.API.STREAM.INFO.{owner.stream}", f"$JS.API.CONSUMER.CREATE.{owner.stream}.*.>"]
    for durable in durables():
        if durable.service is service:
            place = f"{durable.stream}.{durable.name}"
            allowed += [
                f"$JS.API.CONSUMER.INFO.{place}",
                f"$JS.API.CONSUMER.MSG.NEXT.{place}",
                f"$JS.ACK.{place}.>",
            ]
    return list(dict.fromkeys(allowed))


def subscribes(service: Service) -> list[str]:
    """The subjects to which a service may listen."""
    return [f"_INBOX_{service}.>", "auth.>", "feed.>", "sys.>"]


def _readers(owner: Service) -> frozenset[Service]:
    """Who follows an owner's stream: the catalogue's consumers, `admin` (live events), and `token`'s keys by all."""
    if owner is Service.TOKEN:
        return frozenset(Service)
    consumers = {service for row in CATALOGUE if row.owner is owner for service in row.consumers}
    return frozenset({Service.ADMIN, *consumers})


def _list(subjects: list[str]) -> str:
    return "[" + ", ".join(f'"{subject}"' for subject in subjects) + "]"
