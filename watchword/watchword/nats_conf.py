"""nats.conf: an account with a user for each service, to each only its own subjects, and accounts for other teams.

What a service may publish: its own events, hints and presence under `sys.`, and the JetStream calls that its durables
and tails need. What it may hear: events, the feed, hints, and its own inbox prefix, so that nobody reads another's
replies. Permissions are not the only guard: no event grants authority, the row in PostgreSQL decides.

Each program of another team has an account to itself (ADR 11), with no JetStream. What it hears is imported from ours;
what it may ask are calls about its own consumer, and reading. The accounts are always there: granting adds a user.
"""

from collections.abc import Mapping, Sequence

from watchword.grants import SLOTS, Grant
from watchword.installation import NatsUser, Operator
from watchword_events.catalogue import CATALOGUE, durables
from watchword_events.names import Service
from watchword_events.teams import (
    EVENTS_API,
    FEED_SUBJECT,
    KEY_SUBJECT,
    RECEIPTS_SUBJECT,
    ack_subject,
    api_calls,
    copied_subjects,
)

FEED_STREAM = "FEED"


def render(
    public_keys: Mapping[NatsUser, str],
    *,
    port: int,
    store: str,
    host: str = "127.0.0.1",
    monitor: str | None = None,
    grants: Sequence[Grant] = (),
) -> str:
    """The text of nats.conf. monitor: `host:port` of the monitoring endpoint, which knows no authentication."""
    readers = {grant.slot: _reader(grant) for grant in grants}
    teams = "\n".join(
        f"  TEAM{slot} {{ users: [{readers.get(slot, '')}], limits: $TEAM_LIMITS, imports: $TEAM_IMPORTS }}"
        for slot in range(1, SLOTS + 1)
    )
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
# of each program of another team; 32 of them leave enough connections to the services
TEAM_LIMITS: {{ max_connections: 10, max_subscriptions: 500, max_payload: 4096 }}
TEAM_IMPORTS: [
{_lines(_imports())}
]
accounts {{
  SYS {{ users: [ {{ nkey: {public_keys[Operator.SYSTEM]} }} ] }}
  WATCHWORD {{
    # seven streams of 256 MB; in a cluster each of three replicas counts
    jetstream: {{ max_memory: 32MB, max_file: 6GB, max_streams: 10, max_consumers: 500 }}
    users: [
      {{ nkey: {public_keys[Operator.PROVISION]} }}
{users}
    ]
    exports: [
{_lines(_exports())}
    ]
  }}
{teams}
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


def _reader(grant: Grant) -> str:
    """The user of a grant: what its account imports is the wall, its permissions are the second."""
    calls = api_calls(grant.name)
    if not grant.reads_everything:
        del calls["read again"]  # nothing in the subject says which events are asked for
    publish = [*(f"{EVENTS_API}.{call}" for call in calls.values()), ack_subject(grant.name)]
    subscribe = ["_INBOX.>", *grant.subjects]
    if grant.feed:
        subscribe += [FEED_SUBJECT, KEY_SUBJECT, RECEIPTS_SUBJECT]
    return (
        f"{{ nkey: {grant.public_key}, permissions: {{ publish: {{ allow: {_list(publish)} }}, "
        f"subscribe: {{ allow: {_list(list(dict.fromkeys(subscribe)))} }} }} }}"
    )


def _exports() -> list[str]:
    """What other teams' accounts may import: public events and the feed to hear, and the calls about EVENTS."""
    heard = [f'{{ stream: "{subject}" }}' for subject in _heard()]
    # A batch is several answers to one question; nats-server forgets where they go after two silent minutes.
    asked = [f'{{ service: "$JS.API.{call}", response_type: Stream }}' for call in api_calls("*").values()]
    return [*heard, *asked, f'{{ service: "{ack_subject("*")}", response_type: Stream }}']


def _heard() -> list[str]:
    """By entity: nats-server counts a broad subscription once for each of these, and one beyond its limit is deaf."""
    return [*(subject for _, subject in copied_subjects()), FEED_SUBJECT, RECEIPTS_SUBJECT]


def _imports() -> list[str]:
    """The same, as each team's account takes it. JetStream's calls get a prefix: the plain one is an account's own."""
    heard = [f'{{ stream: {{ account: WATCHWORD, subject: "{subject}" }} }}' for subject in _heard()]
    asked = [
        f'{{ service: {{ account: WATCHWORD, subject: "$JS.API.{call}" }}, to: "{EVENTS_API}.{call}" }}'
        for call in api_calls("*").values()
    ]
    return [*heard, *asked, f'{{ service: {{ account: WATCHWORD, subject: "{ack_subject("*")}" }} }}']


def _lines(entries: list[str]) -> str:
    return "\n".join(f"      {entry}" for entry in entries)


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
