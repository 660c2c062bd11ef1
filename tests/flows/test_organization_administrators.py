"""What the administrator of an organization does for it, and that they reach nothing else (threat 58).

`acme` is administered by somebody whose home it is; `other` is not theirs. Whatever they try there, the answer is that
of a thing that does not exist, or a refusal, and not a row of the directory changes.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx2
import pytest
from sqlalchemy import text

from watchword_database import Database, transaction
from watchword_directory.models import OrganizationDomain
from watchword_events.names import Service
from watchword_policy.administration import DELEGATED, permission_of
from watchword_runtime.clock import utc_now
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.row(58)
PASSWORD: Final = "a password of the organization"
BOSS: Final = "boss's"
TABLES: Final = (
    *(f"directory.{name}" for name in ("users", "organizations", "organization_domains", "groups", "nestings")),
    *(f"directory.{name}" for name in ("memberships", "roles", "assignments")),
    *(f"authz.{name}" for name in ("session", "credential", "authenticator", "recovery_code", "passkey")),
    "admin.access_rules",
)
NEW: Final = {"username": "new-{tag}"}
ROLE: Final = {"role": "{reader}"}
RULE: Final = {"name": "r-{tag}", "expression": "true"}
HERE: Final = {"organization": "{acme}"}


@dataclass
class Scene:
    """Two organizations. ids: by what things are called in the tables below.  boss: of `acme`, at the API."""

    platform: Platform
    databases: dict[Service, Database]
    ids: dict[str, str]
    boss: httpx2.AsyncClient

    def filled(self, value: Any) -> Any:
        """A path or a body with the ids in place of `{names}`."""
        if isinstance(value, str):
            for name, found in self.ids.items():
                value = value.replace(f"{{{name}}}", found)
            return value
        if isinstance(value, Mapping):
            return {key: self.filled(each) for key, each in value.items()}
        return [self.filled(each) for each in value] if isinstance(value, list) else value

    async def ask(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """What the organization's administrator is answered."""
        return await self.boss.request(method, self.filled(path), json=None if body is None else self.filled(body))

    async def rows(self) -> list[str]:
        """What stands in the directory, and which rules there are."""
        found = []
        for service, database in self.databases.items():
            async with transaction(database) as session:
                connection = await session.connection()
                for table in (each for each in TABLES if each.startswith(f"{service}.")):
                    state = text(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
                    found.append(str((await connection.execute(state)).scalar()))
        return found


@pytest.fixture(scope="module")
async def scene(module_platform: Platform) -> AsyncIterator[Scene]:
    """People, groups and roles of both, and some of the installation."""
    api, tag, ids = module_platform.api(), secrets.token_hex(4), {}
    ids["tag"] = tag
    for name in ("acme", "other"):
        made = await api.create("/organizations", short_name=f"{name}-{tag}", name=name)
        ids |= {name: str(made["id"]), f"{name} name": f"{name}-{tag}", f"{name} domain": f"{name}-{tag}.example"}
    ids["acme waits"] = f"waits-{tag}.example"
    databases = {
        each: module_platform.database.open(each) for each in (Service.DIRECTORY, Service.AUTHZ, Service.ADMIN)
    }
    async with transaction(databases[Service.DIRECTORY]) as session:
        for domain, verified_at in ((ids["acme domain"], utc_now()), (ids["acme waits"], None)):
            made = OrganizationDomain(organization_id=ids["acme"], domain=domain, challenge="c", created_at=utc_now())
            made.verified_at = verified_at
            session.add(made)
    for name, home in {
        "boss": "acme", "ann": "acme", "bob": "acme", "admin": "acme", "helper": "acme",
        "ruler": "acme", "widely": "acme", "eve": "other", "nobody": None,
    }.items():  # fmt: skip
        where = {"organization": ids[home]} if home else {}
        made = await api.create("/users", username=f"{name}-{tag}", password=PASSWORD, **where)
        ids |= {name: str(made["id"]), f"{name} name": f"{name}-{tag}"}
    for name, home, parents in (
        ("everywhere", None, []), ("helping", None, []), ("acme ops", "acme", []), ("other ops", "other", []),
        ("acme helpers", "acme", ["helping"]), ("acme rulers", "acme", []), ("acme nested", "acme", ["everywhere"]),
    ):  # fmt: skip
        where = {"organization": ids[home]} if home else {}
        lies_in = [ids[f"{parent} full"] for parent in parents]
        made = await api.create("/groups", name=f"{name.replace(' ', '-')}-{tag}", parents=lies_in, **where)
        ids |= {name: str(made["id"]), f"{name} full": str(made["full_name"])}
    ids["reader"] = str((await api.create("/roles", name=f"reader-{tag}", permissions=["tickets:read"]))["id"])
    administering = "organization-administrator"
    for name, given in {
        "boss's": {"role": administering, "user": ids["boss"], "organization": ids["acme"]},
        "ruler's": {"role": administering, "user": ids["ruler"], "organization": ids["other"]},
        "admin's": {"role": "administrator", "user": ids["admin"]},
        "helper's": {"role": "help-desk", "user": ids["helper"]},
        "widely's": {"role": ids["reader"], "user": ids["widely"]},
        "helping's": {"role": "help-desk", "group": ids["helping"]},
        "rulers'": {"role": administering, "group": ids["acme rulers"], "organization": ids["other"]},
        "eve's": {"role": ids["reader"], "user": ids["eve"], "organization": ids["other"]},
    }.items():
        ids[name] = str((await api.create("/assignments", **given))["id"])
    for group, member in (
        ("other ops", "eve"), ("acme ops", "ann"), ("acme ops", "nobody"), ("everywhere", "widely"),
        ("acme nested", "helper"),
    ):  # fmt: skip
        await api.call("POST", f"/groups/{ids[group]}/members", {"add": [ids[member]]})
    for name, home in (("acme app", "acme"), ("other app", "other"), ("app of all", None)):
        where = {"organization": ids[home]} if home else {}
        app = await Party.registered(api, module_platform.issuer, module_platform.canary, **where)
        ids[name] = app.client_id
    for name, home in (("acme's rule", "acme"), ("other's rule", "other"), ("rule of all", None)):
        bound = {"organization": ids[home]} if home else {"clients": [ids["app of all"]]}
        made = await api.create("/rules", name=f"known-{tag}", expression="true", precedence=-9, **bound)
        ids[name] = str(made["id"])
    party = await Party.registered(
        api, module_platform.issuer, module_platform.canary, scope="openid", access_token_lifetime_s=3600,
        permission_scope=sorted({permission_of(*route) for route in DELEGATED}),
    )  # fmt: skip
    for name in ("eve", "ann", "admin", "boss"):
        async with module_platform.browser() as browser:
            tokens = await SignIn(browser, party, scope="openid").with_password(ids[f"{name} name"], PASSWORD)
        (session_of,) = (await api.get("/sessions", user_id=ids[name]))["items"]  # type: ignore[misc]
        ids[f"{name}'s session"] = str(session_of["id"])  # type: ignore[index]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with http_client(base_url=f"{module_platform.issuer}/api/v1", headers=headers, timeout=20.0) as boss:
        yield Scene(module_platform, databases, ids, boss)


_NAMES: Final = {"sessions": "sid", "credentials": "user_id"}


class Attack(NamedTuple):
    """A call beyond reach, and how it is answered: as one about what does not exist, unless said otherwise."""

    call: str
    body: object = None
    answer: int = 404

    @property
    def method(self) -> str:
        return self.call.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.call.partition(" ")[2]

    @property
    def route(self) -> str:
        """The template that it is a call of."""
        area, *rest = self.path.partition("?")[0].strip("/").split("/")
        name = _NAMES.get(area, f"{area.removesuffix('s')}_id")
        rest = [f"{{{name}}}", *rest[1:]] if rest and rest[0].startswith("{") else rest
        return "/".join(["", "api", "v1", area, *rest])


ATTACKS = {
    "looks at another organization": Attack("GET /organizations/{other}"),
    "looks at its domains": Attack("GET /organizations/{other}/domains"),
    "looks at its people": Attack("GET /users/{eve}"),
    "looks at somebody without a home": Attack("GET /users/{nobody}"),
    "looks at their rights": Attack("GET /users/{eve}/rights"),
    "looks at its groups": Attack("GET /groups/{other ops}"),
    "looks at a group of the installation": Attack("GET /groups/{everywhere}"),
    "looks at who is in them": Attack("GET /groups/{other ops}/members"),
    "looks at what its people have": Attack("GET /assignments/{eve's}"),
    "looks at what somebody has everywhere": Attack("GET /assignments/{admin's}"),
    # people
    "makes somebody elsewhere": Attack("POST /users", {**NEW, "organization": "{other}"}, 400),
    "makes somebody elsewhere by name": Attack("POST /users", {**NEW, "organization": "{other name}"}, 400),
    "makes somebody in a group elsewhere": Attack("POST /users", {**NEW, "groups": ["{other ops full}"]}, 403),
    "makes a group elsewhere by that": Attack("POST /users", {**NEW, "groups": ["{other name}/new"]}, 403),
    "makes somebody in a group of all": Attack("POST /users", {**NEW, "groups": ["{everywhere full}"]}, 403),
    "makes a group of all by that": Attack("POST /users", {**NEW, "groups": ["made-{tag}"]}, 403),
    "makes a helper by a group": Attack("POST /users", {**NEW, "groups": ["{acme helpers full}"]}, 403),
    "makes an administrator elsewhere": Attack("POST /users", {**NEW, "groups": ["{acme rulers full}"]}, 403),
    "makes an address of another": Attack("POST /users", {**NEW, "email": "eve@{other domain}"}, 403),
    "makes any address": Attack("POST /users", {**NEW, "email": "ceo@corp.example"}, 403),
    "makes an address below the domain": Attack("POST /users", {**NEW, "email": "x@mail.{acme domain}"}, 403),
    "makes an address that waits for its proof": Attack("POST /users", {**NEW, "email": "x@{acme waits}"}, 403),
    "makes somebody with a phone": Attack("POST /users", {**NEW, "phone_number": "+4912345"}, 403),
    "makes a name of the installation's": Attack("POST /users", {"username": "support"}, 403),
    "replaces somebody elsewhere": Attack("PUT /users/{eve}", {"username": "x", "organization": "{other}"}),
    "moves by replacing": Attack("PUT /users/{ann}", {"username": "{ann name}", "organization": "{other}"}, 400),
    "puts out by replacing": Attack("PUT /users/{ann}", {"username": "{ann name}"}, 403),
    "changes somebody elsewhere": Attack("PATCH /users/{eve}", {"name": "Mine"}),
    "takes somebody over": Attack("PATCH /users/{nobody}", {"organization": "{acme}"}),
    "sends somebody away": Attack("PATCH /users/{ann}", {"organization": "{other}"}, 400),
    "puts somebody out": Attack("PATCH /users/{ann}", {"organization": None}, 403),
    "gives a foreign address": Attack("PATCH /users/{ann}", {"email": "eve@{other domain}"}, 403),
    "gives a phone": Attack("PATCH /users/{ann}", {"phone_number": "+4912345"}, 403),
    "gives another user name": Attack("PATCH /users/{ann}", {"username": "eva-{tag}"}, 403),
    "gives an attribute": Attack("PATCH /users/{ann}", {"attributes": {"clearance": 1}}, 403),
    "gives a group elsewhere": Attack("PATCH /users/{ann}", {"groups": ["{other ops full}"]}, 403),
    "gives a group of all": Attack("PATCH /users/{ann}", {"groups": ["{everywhere full}"]}, 403),
    "gives help by a group": Attack("PATCH /users/{ann}", {"groups": ["{acme helpers full}"]}, 403),
    "sets an administrator's password": Attack("PATCH /users/{admin}", {"password": PASSWORD}, 403),
    "changes an administrator's name": Attack("PATCH /users/{admin}", {"name": "Mine"}, 403),
    "disables an administrator": Attack("PATCH /users/{admin}", {"active": False}, 403),
    "signs an administrator out": Attack("PATCH /users/{admin}?end_sessions=true", {}, 403),
    "sets a helper's password": Attack("PATCH /users/{helper}", {"password": PASSWORD}, 403),
    "disables a helper": Attack("PATCH /users/{helper}", {"active": False}, 403),
    "gets in as one who administers elsewhere": Attack("PATCH /users/{ruler}", {"password": PASSWORD}, 403),
    "gets in as somebody who may more": Attack("PATCH /users/{widely}", {"password": PASSWORD}, 403),
    "gets in there by an address": Attack("PATCH /users/{widely}", {"email": "x@{acme domain}"}, 403),
    "deletes somebody elsewhere": Attack("DELETE /users/{eve}"),
    "deletes an administrator": Attack("DELETE /users/{admin}", None, 403),
    "deletes somebody who is more elsewhere": Attack("DELETE /users/{widely}", None, 403),
    # groups
    "makes a group elsewhere": Attack("POST /groups", {"name": "g", "organization": "{other}"}, 400),
    "makes a group that lies elsewhere": Attack("POST /groups", {"name": "g", "parents": ["{other ops full}"]}, 400),
    "makes a group within one of all": Attack("POST /groups", {"name": "g", "parents": ["{everywhere full}"]}, 400),
    "makes a group that helps": Attack("POST /groups", {"name": "g", "parents": ["{acme helpers full}"]}, 403),
    "replaces a group elsewhere": Attack("PUT /groups/{other ops}", {"name": "mine"}),
    "replaces a group as another's": Attack("PUT /groups/{acme ops}", {"name": "x", "organization": "{other}"}, 400),
    "changes a group elsewhere": Attack("PATCH /groups/{other ops}", {"name": "mine"}),
    "changes a group of all": Attack("PATCH /groups/{everywhere}", {"description": "mine"}),
    "lays a group elsewhere": Attack("PATCH /groups/{acme ops}", {"parents": ["{other ops full}"]}, 400),
    "lays a group into one of all": Attack("PATCH /groups/{acme ops}", {"parents": ["{everywhere full}"]}, 400),
    "lays a group where help is": Attack("PATCH /groups/{acme ops}", {"parents": ["{acme helpers full}"]}, 403),
    "takes a group out of one of all": Attack("PATCH /groups/{acme nested}", {"parents": []}, 200),
    "renames a group that helps": Attack("PATCH /groups/{acme helpers}", {"name": "x"}, 403),
    "deletes a group elsewhere": Attack("DELETE /groups/{other ops}"),
    "deletes a group that helps": Attack("DELETE /groups/{acme helpers}", None, 403),
    "fills a group elsewhere": Attack("POST /groups/{other ops}/members", {"add": ["{ann}"]}),
    "empties a group elsewhere": Attack("POST /groups/{other ops}/members", {"remove": ["{eve}"]}),
    "takes somebody from elsewhere": Attack("POST /groups/{acme ops}/members", {"add": ["{eve}"]}, 400),
    "takes one of theirs and one not": Attack("POST /groups/{acme ops}/members", {"add": ["{bob}", "{nobody}"]}, 400),
    "removes somebody from elsewhere": Attack("POST /groups/{acme ops}/members", {"remove": ["{nobody}"]}, 204),
    "gives help": Attack("POST /groups/{acme helpers}/members", {"add": ["{ann}"]}, 403),
    "takes an administrator in": Attack("POST /groups/{acme ops}/members", {"add": ["{bob}", "{admin}"]}, 403),
    "takes a helper out": Attack("POST /groups/{acme nested}/members", {"remove": ["{helper}"]}, 403),
    "gives another organization away": Attack("POST /groups/{acme rulers}/members", {"add": ["{boss}"]}, 403),
    # roles
    "gives a role elsewhere": Attack("POST /assignments", {**ROLE, "user": "{ann}", "organization": "{other}"}, 400),
    "gives a role everywhere": Attack("POST /assignments", {**ROLE, "user": "{ann}"}, 403),
    "gives a role to one elsewhere": Attack("POST /assignments", {**ROLE, **HERE, "user": "{eve}"}, 400),
    "gives a role to a group elsewhere": Attack("POST /assignments", {**ROLE, **HERE, "group": "{other ops}"}, 400),
    "gives a role to a group of all": Attack("POST /assignments", {**ROLE, **HERE, "group": "{everywhere}"}, 400),
    "gives itself ownership": Attack("POST /assignments", {"role": "owner", "user": "{boss}"}, 403),
    "gives itself ownership within": Attack("POST /assignments", {**HERE, "role": "owner", "user": "{boss}"}, 400),
    "gives itself help within": Attack("POST /assignments", {**HERE, "role": "help-desk", "user": "{boss}"}, 400),
    "gives an administrator a role": Attack("POST /assignments", {**ROLE, **HERE, "user": "{admin}"}, 403),
    "takes a role elsewhere": Attack("DELETE /assignments/{eve's}"),
    "takes an administrator's role": Attack("DELETE /assignments/{admin's}"),
    "takes what counts everywhere": Attack("DELETE /assignments/{widely's}"),
    # access rules
    "looks at a rule elsewhere": Attack("GET /rules/{other's rule}"),
    "looks at a rule of all": Attack("GET /rules/{rule of all}"),
    "makes a rule elsewhere": Attack("POST /rules", {**RULE, "organization": "{other}"}, 400),
    "makes a rule elsewhere by name": Attack("POST /rules", {**RULE, "organization": "{other name}"}, 400),
    "makes a rule for an application elsewhere": Attack("POST /rules", {**RULE, "clients": ["{other app}"]}, 400),
    "makes a rule for an application of all": Attack("POST /rules", {**RULE, "clients": ["{app of all}"]}, 400),
    "makes a rule for a document": Attack("POST /rules", {**RULE, "clients": ["https://app.example/client"]}, 400),
    "makes a rule above all": Attack("POST /rules", {**RULE, "precedence": 1_000_001}, 400),
    "replaces a rule elsewhere": Attack("PUT /rules/{other's rule}", RULE),
    "replaces a rule as one elsewhere": Attack("PUT /rules/{acme's rule}", {**RULE, "organization": "{other}"}, 400),
    "changes a rule elsewhere": Attack("PATCH /rules/{other's rule}", {"precedence": 1}),
    "changes a rule of all": Attack("PATCH /rules/{rule of all}", {"enabled": False}),
    "takes over a rule of all": Attack("PATCH /rules/{rule of all}", {"organization": "{acme}"}),
    "makes a rule of all of theirs": Attack("PATCH /rules/{acme's rule}", {"organization": None}, 403),
    "sends a rule away": Attack("PATCH /rules/{acme's rule}", {"organization": "{other}"}, 400),
    "widens a rule": Attack("PATCH /rules/{acme's rule}", {"clients": ["{app of all}"]}, 400),
    "deletes a rule elsewhere": Attack("DELETE /rules/{other's rule}"),
    "deletes a rule of all": Attack("DELETE /rules/{rule of all}"),
    "asks the rules of another": Attack("POST /rules/test", {"claims": {}, "client": "{other app}"}, 400),
    "asks the rules of all": Attack("POST /rules/test", {"claims": {}}, 400),
    "asks what people's claims say": Attack("POST /decisions/dry-run", {}, 403),
    "makes a service account": Attack("POST /service-accounts", {"name": "s-{tag}"}, 403),
    # signing in
    "looks at credentials elsewhere": Attack("GET /credentials/{eve}"),
    "ends a session elsewhere": Attack("DELETE /sessions/{eve's session}"),
    "signs somebody out elsewhere": Attack("DELETE /sessions?user_id={eve}"),
    "ends an administrator's session": Attack("DELETE /sessions/{admin's session}", None, 403),
    "signs an administrator out, too": Attack("DELETE /sessions?user_id={admin}", None, 403),
    "unlocks an administrator": Attack("DELETE /credentials/{admin}/lock", None, 403),
    "forgets the factors of one elsewhere": Attack("DELETE /credentials/{eve}/factors"),
    "forgets the factors of an administrator": Attack("DELETE /credentials/{admin}/factors", None, 403),
    "forgets the factors of a helper": Attack("DELETE /credentials/{helper}/factors", None, 403),
    "forgets the factors of one who may more": Attack("DELETE /credentials/{widely}/factors", None, 403),
    "forgets the factors of one who administers": Attack("DELETE /credentials/{ruler}/factors", None, 403),
    "unlocks somebody elsewhere": Attack("DELETE /credentials/{eve}/lock"),
    "invites somebody elsewhere": Attack("POST /invitations", {"user_id": "{eve}"}),
    "invites an administrator": Attack("POST /invitations", {"user_id": "{admin}"}, 403),
    "invites a helper": Attack("POST /invitations", {"user_id": "{helper}"}, 403),
    "invites one who may more": Attack("POST /invitations", {"user_id": "{widely}"}, 403),
    "invites one who administers elsewhere": Attack("POST /invitations", {"user_id": "{ruler}"}, 403),
    "withdraws a consent": Attack("DELETE /consents/0", None, 403),
    # what is not theirs at all
    "takes the audit log": Attack("GET /audit/export", None, 403),
    "checks the audit log": Attack("GET /audit/verification", None, 403),
    "renames the organization": Attack("PATCH /organizations/{acme}", {"name": "Mine"}, 403),
    "deletes the organization": Attack("DELETE /organizations/{acme}", None, 403),
    "makes an organization": Attack("POST /organizations", {"short_name": "n-{tag}", "name": "n"}, 403),
    "claims a domain": Attack("POST /organizations/{acme}/domains", {"domain": "corp.example"}, 403),
    "has a domain looked at": Attack("POST /organizations/{acme}/domains/{acme waits}/verify", None, 403),
    "makes a role": Attack("POST /roles", {"name": "r-{tag}"}, 403),
    "gives roles everywhere": Attack("PUT /users/{ann}/roles", {"roles": ["auditor"]}, 403),
    "merges accounts": Attack("POST /users/{ann}/merge", {"user": "{bob}"}, 403),
    "applies documents": Attack("POST /apply/directory", {}, 403),
}
AREAS: Final = ("organizations", "users", "groups", "assignments", "roles", "rules", "sessions", "audit")
LISTS: Final = frozenset(("GET", f"/api/v1/{area}") for area in AREAS)
# Roles are the installation's, and the same for everybody.
FOR_ALL: Final = frozenset({("GET", "/api/v1/roles"), ("GET", "/api/v1/roles/{role_id}")})


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_nothing_beyond_the_organization_is_reached(scene: Scene, attack: Attack) -> None:
    before = await scene.rows()
    answer = await scene.ask(attack.method, attack.path, attack.body)
    assert answer.status_code == attack.answer, answer.text
    assert await scene.rows() == before
    if answer.status_code == 404:
        nothing = re.sub(r"(?<=/)\{[^}]+\}", "0", attack.path, count=1)
        absent = await scene.ask(attack.method, nothing, attack.body)
        assert (absent.status_code, absent.json()["detail"]) == (404, answer.json()["detail"])


def test_every_delegated_route_is_attacked() -> None:
    attacked = {(attack.method, attack.route) for attack in ATTACKS.values()}
    assert DELEGATED - attacked - LISTS - FOR_ALL == set()


async def test_lists_show_the_organization_alone(scene: Scene) -> None:
    ids = scene.ids
    for path, key, wanted in (
        ("/organizations", "id", {"acme"}),
        ("/users", "id", {"boss", "ann", "bob", "admin", "helper", "ruler", "widely"}),
        ("/groups", "id", {"acme ops", "acme helpers", "acme rulers", "acme nested"}),
        ("/assignments", "id", {"boss's"}),
        ("/rules", "id", {"acme's rule"}),
        ("/sessions", "id", {"boss's session", "ann's session", "admin's session"}),
        ("/groups/{acme ops}/members", "user_id", {"ann"}),
    ):
        answer = (await scene.ask("GET", f"{path}?limit=200")).json()
        assert {each[key] for each in answer["items"]} == {ids[name] for name in wanted}, path
    for path in ("/users?organization={other}", "/groups?organization={other}", "/assignments?user={eve}",
                 "/users?username={eve name}", "/groups?full_name={other ops full}", "/users?search=eve-",
                 "/sessions?user_id={eve}", "/rules?organization={other}", "/rules?organization=",
                 "/organizations?short_name={other name}"):  # fmt: skip
        assert (await scene.ask("GET", path)).json()["items"] == [], path


async def test_the_audit_log_shows_what_their_people_did(scene: Scene) -> None:
    theirs = {scene.ids[name] for name in ("boss", "ann", "bob", "admin", "helper", "ruler", "widely")}
    async with asyncio.timeout(20):
        while not (found := (await scene.ask("GET", "/audit?action=sign_in.*&limit=200")).json()["items"]):
            await asyncio.sleep(0.1)
    found += (await scene.ask("GET", "/audit?limit=200")).json()["items"]
    assert {each["resource"] for each in found} | {each["actor"]["sub"] for each in found} <= theirs
    for path in ("/audit?resource={eve}", "/audit?actor={eve}", "/audit?kind=client", "/audit?action=api.called"):
        assert (await scene.ask("GET", path)).json()["items"] == [], path


async def test_what_somebody_has_elsewhere_is_not_told(scene: Scene) -> None:
    rights = (await scene.ask("GET", "/users/{ruler}/rights")).json()
    assert rights["organizations"] == []
    assert (await scene.ask("GET", "/users/{widely}")).json()["groups"] == []
    group = (await scene.ask("GET", "/groups/{acme nested}")).json()
    assert group["parents"] == []


async def test_an_organization_is_administered(scene: Scene) -> None:
    """All that is theirs, one step after the other."""
    ids, tag = scene.ids, scene.ids["tag"]
    steps: list[tuple[str, str, object, int]] = [
        ("GET", "/organizations/{acme}", None, 200),
        ("GET", "/organizations/{acme}/domains", None, 200),
        ("POST", "/users", {"username": "new-{tag}", "email": "new@{acme domain}", "name": "New", "password": PASSWORD,
                            "groups": ["{acme ops full}", "{acme name}/fresh"]}, 201),
        ("PATCH", "/users/{new}", {"name": "Newer", "email": "newer@{acme domain}", "password": PASSWORD}, 200),
        ("PATCH", "/users/{new}", {"active": False}, 200),
        ("PATCH", "/users/{new}?end_sessions=true", {"active": True}, 200),
        ("PUT", "/users/{new}", {"username": "new-{tag}", "organization": "{acme name}"}, 200),
        ("PATCH", "/users/{widely}", {"active": False}, 200),
        ("PATCH", "/users/{widely}", {"active": True}, 403),
        ("POST", "/groups", {"name": "team-{tag}", "parents": ["{acme ops full}"]}, 201),
        ("PATCH", "/groups/{made}", {"description": "of ours"}, 200),
        ("POST", "/groups/{made}/members", {"add": ["{new}", "{ann}"]}, 204),
        ("POST", "/groups/{made}/members", {"remove": ["{ann}"]}, 204),
        ("POST", "/assignments", {"role": "{reader}", "user": "{new}", "organization": "{acme}"}, 201),
        ("DELETE", "/assignments/{given}", None, 204),
        ("POST", "/assignments", {"role": "organization-administrator", "group": "{made}", "organization": "{acme}"},
         201),
        ("DELETE", "/assignments/{given}", None, 204),
        ("POST", "/rules", {**RULE, "clients": ["{acme app}"], "precedence": 5, "roles": ["lead"]}, 201),
        ("PUT", "/rules/{rule}", {**RULE, "precedence": 6}, 200),
        ("PATCH", "/rules/{rule}", {"clients": ["{acme app}"]}, 200),
        ("POST", "/rules/test", {"claims": {"groups": ["a"]}, "expression": "'a' in groups"}, 200),
        ("POST", "/rules/test", {"claims": {}, "client": "{acme app}"}, 200),
        ("DELETE", "/rules/{rule}", None, 204),
        ("DELETE", "/groups/{made}", None, 204),
        ("GET", "/credentials/{ann}", None, 200),
        ("GET", "/sessions?user_id={ann}", None, 200),
        ("DELETE", "/sessions/{ann's session}", None, 204),
        ("DELETE", "/sessions?user_id={ann}", None, 200),
        ("DELETE", "/credentials/{bob}/factors", None, 204),
        ("DELETE", "/credentials/{ann}/lock", None, 204),
        ("POST", "/invitations", {"user_id": "{bob}"}, 201),
        ("DELETE", "/users/{new}", None, 204),
        ("GET", "/users/{new}", None, 404),
    ]  # fmt: skip
    for method, path, body, expected in steps:
        answer = await scene.ask(method, path, body)
        assert answer.status_code == expected, (method, path, answer.text)
        if method == "POST" and expected == 201:
            ids[{"/users": "new", "/groups": "made", "/rules": "rule"}.get(path, "given")] = str(
                answer.json().get("id")
            )
        if (method, path) == ("POST", "/users"):
            made = answer.json()
            assert (made["organization"], made["email_verified"]) == (ids["acme"], True)
            assert made["groups"] == [f"{ids['acme name']}/fresh", ids["acme ops full"]] or len(made["groups"]) == 2
    api = scene.platform.api()
    await api.change(f"/users/{ids['widely']}", active=True)
    await api.delete(f"/groups/{(await api.get('/groups', full_name=f'acme-{tag}/fresh'))['items'][0]['id']}")  # type: ignore[index]


async def test_an_address_that_is_only_repeated_stays_unverified(scene: Scene) -> None:
    """What somebody claims at a provider does not become true because their administrator sends the document back."""
    ids = scene.ids
    address = f"ceo-{ids['tag']}@elsewhere.example"
    claimed = text("UPDATE directory.users SET email = :email, email_verified = false WHERE id = :id")
    async with transaction(scene.databases[Service.DIRECTORY]) as session:
        await (await session.connection()).execute(claimed, {"email": address, "id": ids["bob"]})
    for method, body in (
        ("PATCH", {"email": address}),
        ("PATCH", {"email": address, "name": "Bob"}),
        ("PUT", {"username": ids["bob name"], "email": address, "organization": ids["acme"]}),
    ):
        answer = await scene.ask(method, "/users/{bob}", body)
        assert (answer.status_code, answer.json()["email_verified"]) == (200, False), answer.text
    assert (await scene.ask("POST", "/users/{bob}/vouch")).status_code == 403
    answer = await scene.ask("PATCH", "/users/{bob}", {"email_verified": True})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#/email_verified"), answer.text


async def test_who_administers_two_says_which_and_moves_nobody(scene: Scene) -> None:
    api, ids = scene.platform.api(), scene.ids
    second = await api.create("/assignments", role="organization-administrator", user=ids["boss"],
                              organization=ids["other"])  # fmt: skip
    try:
        unsaid = await scene.ask("POST", "/users", {"username": "unsaid-{tag}"})
        assert (unsaid.status_code, unsaid.json()["errors"][0]["pointer"]) == (400, "#/organization")
        moved = await scene.ask("PATCH", "/users/{ann}", {"organization": "{other}"})
        assert moved.status_code == 403, moved.text
        assert (await scene.ask("GET", "/users/{eve}")).status_code == 200
    finally:
        await api.delete(f"/assignments/{second['id']}")
    assert (await scene.ask("GET", "/users/{eve}")).status_code == 404


async def test_who_administers_no_more_reaches_nothing_at_once(scene: Scene) -> None:
    api, ids = scene.platform.api(), scene.ids
    await api.delete(f"/assignments/{ids[BOSS]}")
    assert (await scene.ask("GET", "/users")).status_code == 403
    back = await api.create("/assignments", role="organization-administrator", user=ids["boss"],
                            organization=ids["acme"])  # fmt: skip
    ids["boss's"] = str(back["id"])
    assert (await scene.ask("GET", "/users")).status_code == 200
