"""What Prometheus is told, and that dashboard and alert rules ask for nothing else."""

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from starlette.types import Message

from watchword.composition import Process
from watchword.management import Management
from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.platform import Platform

DEPLOY = Path(__file__).parents[2] / "deploy"
_NAME = re.compile(r"\b((?:watchword|process|http_server)_[a-z_]+)\b")


async def answer(platform: Platform, path: str) -> tuple[int, str]:
    """What the management port says."""
    assert platform.process is not None
    return await told_by(Management(platform.process), path)


async def told_by(management: Management, path: str) -> tuple[int, str]:
    """Status and body."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await management({"type": "http", "path": path}, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:]).decode()


async def samples(platform: Platform) -> dict[str, dict[frozenset[str], float]]:
    """Every value, by name and by the values of its labels."""
    status, text = await answer(platform, "/metrics")
    assert status == 200
    found: dict[str, dict[frozenset[str], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.values())] = sample.value
    return found


async def test_answers_are_counted_by_route_and_never_by_what_a_caller_chose(api: Api, platform: Platform) -> None:
    made_up = secrets.token_hex(8)
    route = frozenset({"GET", "/api/v1/scopes/{scope_id}", "404"})
    name = "http_server_request_duration_seconds_count"
    before = (await samples(platform)).get(name, {}).get(route, 0)
    await api.call("GET", f"/scopes/{made_up}")
    await api.client.get(f"{platform.issuer}/{made_up}")
    await api.client.request(made_up.upper(), f"{platform.issuer}/api/v1/scopes")
    await api.client.post(f"{platform.issuer}/oauth2/token", data={"grant_type": made_up})
    found = await samples(platform)
    assert found[name][route] == before + 1
    assert made_up not in (await answer(platform, "/metrics"))[1].lower()
    assert found[name][frozenset({"POST", "/oauth2/token", "401"})] >= 1
    assert any("none" in labels for labels in found[name])
    assert found["watchword_token_errors_total"][frozenset({"invalid_client"})] >= 1


async def test_sign_ins_are_counted_by_outcome(platform: Platform, browser_session: Browser) -> None:
    before = (await samples(platform)).get("watchword_logins_total", {})
    await browser_session.open(f"{platform.issuer}/login")
    await browser_session.submit("username", "sign-in", username=secrets.token_hex(8), password="not this one")
    await browser_session.submit(
        "username", "sign-in", username=platform.admin.username, password=platform.admin.password
    )
    found = (await samples(platform))["watchword_logins_total"]
    for outcome in ("refused", "succeeded"):
        key = frozenset({"password", outcome})
        assert found[key] > before.get(key, 0), outcome


async def test_what_an_operator_looks_at_is_there(platform: Platform) -> None:
    found = await samples(platform)
    assert {len(found["watchword_ready"]), *found["watchword_ready"].values()} == {5, 1}
    assert found["watchword_feed_ready"] == {frozenset(): 1}
    assert found["watchword_feed_position"][frozenset()] > 0
    for name in ("watchword_outbox_pending", "watchword_outbox_oldest_seconds", "watchword_dead_letters"):
        assert found[name].keys() == found["watchword_ready"].keys()
    for name in ("watchword_feed_lag_entries", "watchword_receipts_behind", "watchword_receipts_silent"):
        assert found[name][frozenset()] >= 0
    assert {*found["watchword_logout_deliveries_total"]} == {
        frozenset({outcome}) for outcome in ("delivered", "failed", "given_up")
    }
    assert found["process_resident_memory_bytes"][frozenset()] > 1e6
    assert (await answer(platform, "/livez"))[0] == 200
    assert await answer(platform, "/readyz") == await answer(platform, "/healthz")
    assert (await answer(platform, "/startupz"))[0] == (await answer(platform, "/readyz"))[0] == 200
    assert (await answer(platform, "/else"))[0] == 404


async def test_the_first_end_of_each_kind_is_told(platform: Platform, api: Api) -> None:
    now = datetime.now(UTC)
    ends = [now + timedelta(days=days) for days in (200, 100)]
    for end in ends:
        await api.create("/scim-tokens", name=secrets.token_hex(4), expires_at=end.isoformat())
    assert platform.process is not None
    management = Management(platform.process)
    _, text = await told_by(management, "/metrics")
    (family,) = [
        each for each in text_string_to_metric_families(text) if each.name == "watchword_first_end_timestamp_seconds"
    ]
    told = {sample.labels["kind"]: sample.value for sample in family.samples}
    assert abs(told["scim_token"] - ends[1].timestamp()) < 2


async def test_once_started_it_stays_so_while_what_it_needs_is_away(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert platform.process is not None
    management = Management(platform.process)
    monkeypatch.setattr(Process, "waiting_for", lambda _: {"feed": "PostgreSQL is away"})
    for path in ("/startupz", "/readyz", "/healthz"):
        assert (await told_by(management, path))[0] == 503
    monkeypatch.undo()
    assert (await told_by(management, "/startupz"))[0] == 200
    monkeypatch.setattr(Process, "waiting_for", lambda _: {"feed": "PostgreSQL is away"})
    assert (await told_by(management, "/startupz"))[0] == 200
    assert (await told_by(management, "/readyz"))[0] == 503


def asked() -> dict[str, set[str]]:
    """The metrics that each panel and each rule names."""
    dashboard = json.loads((DEPLOY / "grafana" / "watchword.json").read_text())
    rules = YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yaml")
    found = {
        panel["title"]: set(_NAME.findall(" ".join(target["expr"] for target in panel["targets"])))
        for panel in dashboard["panels"]
    }
    return found | {
        rule["alert"]: set(_NAME.findall(rule["expr"])) for group in rules["groups"] for rule in group["rules"]
    }


@pytest.mark.parametrize("place", asked())
async def test_every_metric_that_is_asked_for_exists(platform: Platform, place: str) -> None:
    _, text = await answer(platform, "/metrics")
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    known = {
        name + suffix
        for name, kind in families.items()
        for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(kind, ("",))
    }
    names = asked()[place]
    assert names, "asks for nothing"
    assert names <= known


def test_a_service_of_which_no_instance_is_left_calls_somebody() -> None:
    """What is gone reports nothing, so `== 0` never holds for it."""
    rules = YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yaml")["groups"][0]["rules"]
    (absent,) = [rule["expr"] for rule in rules if rule["alert"] == "WatchwordAbsent"]
    assert set(re.findall(r'absent\(watchword_ready\{service="(\w+)"\}\)', absent)) == set(Service)
