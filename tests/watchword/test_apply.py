"""`watchword apply`: the same documents twice change nothing, a plan is what happens, and errors name their line."""

import asyncio
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jsonschema_rs
import pytest

from watchword import documents
from watchword.apply import ApplyError, Installation, OwnersPlan, Step
from watchword.documents import DocumentError
from watchword_runtime import declarations
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

DOCUMENTS = """
# people and what they use
kind: Client
short_name: apply-grafana
client_name: Grafana
redirect_uris:
  - https://app.example/callback
scope: openid profile email
require_consent: false
---
kind: User
username: apply-erin
email: erin@example.com
name: Erin Example
password: a password from a file
roles: [administrator]
---
kind: IdentityProvider
id: ApplyCorp
display_name: Apply Corp
issuer: http://127.0.0.1:1
client_id: watchword
client_secret: what the provider gave us
"""
SAML = """
kind: IdentityProvider
id: ApplySaml
preset: saml
display_name: Apply SAML
metadata_url: https://idp.example/metadata.xml
"""
# Kinds that this file says nothing about; those who own them test them.
UNDECLARED = {"Branding", "IdentityProvider", "Webhook"}
CLIENT = "kind: Client\nshort_name: {0}\nclient_name: {1}\nredirect_uris: [https://{0}.example/callback]\n"


@dataclass
class Operator:
    """Somebody at the command line."""

    installation: Installation
    file: Path
    canary: Canary
    environment: dict[str, str]

    async def plan(self, text: str, **options: bool) -> list[OwnersPlan]:
        """What would happen."""
        self.file.write_text(text)

        def planned() -> list[OwnersPlan]:
            found = documents.read(self.file)
            return self.installation.plan(found, environment=self.environment, **options)

        return await asyncio.to_thread(planned)

    async def carry_out(self, plans: Sequence[OwnersPlan]) -> list[Step]:
        """What a plan says happens."""
        done = await asyncio.to_thread(lambda: list(self.installation.apply(plans)))
        self.canary.add("client_secret", *(each.secret for each in done if each.secret))
        return done

    async def apply(self, text: str, **options: bool) -> list[Step]:
        """The documents are applied."""
        return await self.carry_out(await self.plan(text, **options))


@pytest.fixture
def operator(platform: Platform, canary: Canary, tmp_path: Path) -> Operator:
    """With an administrator's key."""
    installation = Installation(platform.issuer, platform.admin.admin_token)
    return Operator(installation, tmp_path / "documents.yaml", canary, {})


def by_kind(steps: Sequence[Step]) -> dict[str, Step]:
    """The step of each kind."""
    return {step.kind: step for step in steps}


async def test_documents_are_applied_once(
    operator: Operator, platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    first = by_kind(await operator.apply(DOCUMENTS))
    assert {kind: (step.name, step.action) for kind, step in first.items()} == {
        "Client": ("apply-grafana", "create"),
        "User": ("apply-erin", "create"),
        "IdentityProvider": ("ApplyCorp", "create"),
    }
    since = utc_now()
    async with platform.nats_client() as nats, expect_events(nats) as seen:
        again = by_kind(await operator.apply(DOCUMENTS))
    assert [each.action for each in again.values()] == ["unchanged"] * 3
    assert {each.id for each in again.values()} == {each.id for each in first.values()}
    assert [each.secret for each in again.values()] == [None] * 3
    new = [each.type for each in seen.events if datetime.fromisoformat(each.headers["ce-time"]) >= since]
    assert [each for each in new if each.split(".")[0] in {"client", "user", "provider"}] == []
    assert (await api.get(f"/users/{first['User'].id}"))["roles"] == ["administrator"]

    party = Party(platform.issuer, str(first["Client"].id), first["Client"].secret, canaries=(canary,))
    tokens = await SignIn(browser_session, party).with_password("apply-erin", "a password from a file")
    assert (await party.userinfo(tokens["access_token"])).json()["email"] == "erin@example.com"


async def test_what_belongs_to_an_organization_names_it_as_people_do(operator: Operator, api: Api) -> None:
    """The organization, and what is bound to it, come in one file: a plan does not know it yet."""
    name = f"org-{secrets.token_hex(3)}"
    text = (
        f"kind: AccessRule\nname: own\nexpression: 'true'\nclients: [{name}]\norganization: {name}\n---\n"
        f"{CLIENT.format(name, 'Bound')}organization: {name}\n---\n"
        f"kind: Organization\nshort_name: {name}\nname: Ours\n"
    )
    done = by_kind(await operator.apply(text))
    assert {kind: (step.name, step.action) for kind, step in done.items()} == {
        "Organization": (name, "create"),
        "Client": (name, "create"),
        "AccessRule": (f"{name}/own", "create"),
    }
    organization = done["Organization"].id
    assert (await api.get(f"/clients/{done['Client'].id}"))["organization"] == organization
    assert (await api.get(f"/rules/{done['AccessRule'].id}"))["organization"] == organization
    assert {step.action for step in await operator.apply(text)} == {"unchanged"}
    with pytest.raises(ApplyError, match="there is no such organization"):
        await operator.apply(CLIENT.format(f"{name}-x", "Nobody's") + "organization: no-such\n")


async def test_a_plan_says_what_differs_and_does_nothing(operator: Operator, platform: Platform, api: Api) -> None:
    name = f"plan-{secrets.token_hex(3)}"
    text = CLIENT.format(name, "Before")
    async with platform.nats_client() as nats, expect_events(nats) as seen:
        (planned,) = await operator.plan(text + "enabled: false\n")
    assert [step.action for step in planned.steps] == ["create"]
    assert planned.steps[0].secret is None
    assert (await api.get("/clients", short_name=name))["items"] == []
    assert [each.type for each in seen.events if each.type.startswith("client.")] == []

    (made,) = await operator.apply(text)
    (planned,) = await operator.plan(text.replace("Before", "After") + "enabled: false\naccess_token_format: opaque\n")
    (step,) = planned.steps
    assert (step.action, step.id) == ("change", made.id)
    changes = {each["field"]: (each["before"], each["after"]) for each in step.changes}
    assert changes == {
        "client_name": ("Before", "After"),
        "access_token_format": ("jwt", "opaque"),
        "enabled": (True, False),
    }
    assert (await api.get(f"/clients/{made.id}"))["client_name"] == "Before"
    # A plan that would have switched the client off has told nobody so.
    party = Party(platform.issuer, str(made.id), made.secret)
    assert (await party.ask("introspect", token="x")).status_code == 200


async def test_what_was_agreed_to_happens_or_nothing(operator: Operator, api: Api) -> None:
    name = f"agreed-{secrets.token_hex(3)}"
    (made,) = await operator.apply(CLIENT.format(name, "One"))
    planned = await operator.plan(CLIENT.format(name, "Two"))
    await api.change(f"/clients/{made.id}", client_name="Meanwhile")
    with pytest.raises(ApplyError, match="Something else would happen now"):
        await operator.carry_out(planned)
    assert (await api.get(f"/clients/{made.id}"))["client_name"] == "Meanwhile"


async def test_one_wrong_document_of_an_owner_stops_them_all(operator: Operator, api: Api) -> None:
    one, two = (f"all-{secrets.token_hex(3)}" for _ in range(2))
    text = CLIENT.format(one, "One") + "---\n" + CLIENT.format(two, "Two").replace("https://", "ftp://")
    with pytest.raises(DocumentError, match=r"documents\.yaml:9: redirect_uris/0"):
        await operator.apply(text)
    taken = CLIENT.format(one, "One") + "---\n" + CLIENT.format(one.upper(), "Same short name")
    with pytest.raises(DocumentError, match=r"documents\.yaml:6: Client: Another document describes"):
        await operator.apply(taken)
    assert (await api.get("/clients", short_name=one))["items"] == []


async def test_a_changed_document_changes_only_its_own(operator: Operator, api: Api) -> None:
    both = CLIENT.format("apply-one", "One") + "---\n" + CLIENT.format("apply-two", "Two")
    await operator.apply(both)
    changed = await operator.apply(both.replace("client_name: Two", "client_name: Second"))
    assert [each.action for each in changed] == ["unchanged", "change"]
    assert (await api.get(f"/clients/{changed[1].id}"))["client_name"] == "Second"


async def test_what_is_left_out_returns_to_its_default(operator: Operator, api: Api) -> None:
    text = CLIENT.format("apply-def", "D")
    (made,) = await operator.apply(text + "access_token_format: opaque\n")
    assert (await api.get(f"/clients/{made.id}"))["access_token_format"] == "opaque"
    assert (await operator.apply(text))[0].action == "change"
    assert (await api.get(f"/clients/{made.id}"))["access_token_format"] == "jwt"


async def test_secrets_of_what_exists_are_written_only_when_asked(operator: Operator) -> None:
    text = "kind: User\nusername: apply-frank\npassword: {}\n"
    await operator.apply(text.format("the first password"))
    assert (await operator.apply(text.format("the second password")))[0].action == "unchanged"
    (planned,) = await operator.plan(text.format("the second password"), set_secrets=True)
    assert [dict(each) for each in planned.steps[0].changes] == [
        {"field": "password", "before": None, "after": None, "is_secret": True}
    ]
    assert (await operator.apply(text.format("the second password"), set_secrets=True))[0].action == "change"


async def test_secrets_come_from_where_documents_say(operator: Operator, platform: Platform, canary: Canary) -> None:
    secret = secrets.token_urlsafe(24)
    canary.add("client_secret", secret)
    operator.environment["GRAFANA_SECRET"] = secret
    name = f"ref-{secrets.token_hex(3)}"
    (made,) = await operator.apply(CLIENT.format(name, "Ref") + "client_secret: {env: GRAFANA_SECRET}\n")
    assert made.secret is None
    assert secret not in str(made)
    party = Party(platform.issuer, str(made.id), secret)
    assert (await party.ask("introspect", token="x")).status_code == 200


async def test_a_chosen_client_id_is_there_before_the_installation(operator: Operator, api: Api) -> None:
    client_id = f"argo-{secrets.token_hex(3)}"
    text = f"kind: Client\nclient_id: {client_id}\nclient_name: Argo\nredirect_uris: [https://argo.example/cb]\n"
    (made,) = await operator.apply(text)
    assert made.id == client_id
    assert (await operator.apply(text))[0].action == "unchanged"
    await api.delete(f"/clients/{client_id}")
    with pytest.raises(DocumentError, match=r":2: client_id: this id is, or was, another client's"):
        await operator.apply(text)


async def test_what_no_document_describes_goes_only_when_asked(operator: Operator, api: Api) -> None:
    keep, lose = (f"prune-{secrets.token_hex(3)}" for _ in range(2))
    provider = "kind: IdentityProvider\nid: {0}\ndisplay_name: {0}\nissuer: http://127.0.0.1:1\nclient_id: x\n"
    before = [each["id"] for each in await api.all("/providers")]
    kept = "---\n".join(provider.format(each) for each in [keep, *before])
    await operator.apply(provider.format(keep) + "---\n" + provider.format(lose))
    assert {step.action for plan in await operator.plan(kept) for step in plan.steps} <= {"unchanged", "change"}
    (planned,) = await operator.plan(kept, prune=True)
    assert [(step.name, step.action) for step in planned.steps if step.action == "delete"] == [(lose, "delete")]
    # Only the kind that the documents are of is pruned, and people only when that is said.
    assert {step.kind for step in planned.steps} == {"IdentityProvider"}
    people = await operator.plan("kind: User\nusername: apply-nobody\n", prune=True)
    assert [step.action for plan in people for step in plan.steps] == ["create"]
    # The last administrator cannot be lost that way: the whole plan is refused.
    with pytest.raises(DocumentError):
        await operator.plan("kind: User\nusername: apply-nobody\n", prune=True, prune_people=True)


async def test_what_is_exported_applies_to_no_change(operator: Operator, canary: Canary) -> None:
    await operator.apply(DOCUMENTS + "---\n" + CLIENT.format("apply-exp", "Exp") + "enabled: false\n---" + SAML)
    found = await asyncio.to_thread(lambda: list(operator.installation.export()))
    assert {"Client", "User", "IdentityProvider"} <= {str(each["kind"]) for each in found}
    assert not any({"client_secret", "password", "secrets"} & each.keys() for each in found)
    text = declarations.write(found, schema=operator.installation.schema_url)
    planned = await operator.plan(text)
    differs = [step for plan in planned for step in plan.steps if step.action != "unchanged"]
    assert differs == []
    only = await asyncio.to_thread(lambda: list(operator.installation.export(["Client"])))
    assert {each["kind"] for each in only} == {"Client"}


EVERYTHING = """
kind: Organization
short_name: {0}-acme
name: Acme
external_id: 4711
---
kind: Attribute
name: {1}_center
value: string
description: Cost center
---
kind: Role
name: {0}-deployer
description: Deploys
permissions: ["deploy:*"]
---
kind: Group
name: ops
organization: {0}-acme
---
kind: Group
name: {0}-admins
description: Those who help
parents: [{0}-acme/ops]
---
kind: User
username: {0}-alice
email: {0}-alice@example.com
organization: {0}-acme
groups: [{0}-acme/ops]
roles: [{0}-deployer]
attributes: {{ {1}_center: "42" }}
address: {{locality: Oslo}}
---
kind: RoleAssignment
role: {0}-deployer
group: {0}-admins
---
kind: RoleAssignment
role: organization-administrator
user: {0}-alice
organization: {0}-acme
---
kind: Client
short_name: {0}-argo
client_name: Argo
redirect_uris: [https://argo.example/cb]
---
kind: Scope
name: {0}-cost
description: See where it is paid
claims:
  - {{name: cost_center, expression: "email"}}
---
kind: Resource
identifier: https://{0}.example/mcp
name: Tools
scopes: [{0}-cost]
---
kind: ServiceAccount
name: {0}-read-only
roles: [reader]
---
kind: AccessRule
name: {0}-everybody
expression: "'ops' in groups"
precedence: -1
service_account: {0}-read-only
clients: [{0}-argo]
---
kind: TrustedIssuer
iss: https://{0}.ci.example
aud: [sso]
description: Builds
"""


async def test_every_kind_is_made_left_alone_changed_and_removed(operator: Operator) -> None:
    tag = secrets.token_hex(3)
    text = EVERYTHING.format(f"every-{tag}", f"e{tag}")
    # The order in a file does not matter: who is named is made first.
    backwards = "---\n".join(reversed(text.split("---\n")))
    made = await operator.apply(backwards)
    assert {each.action for each in made} == {"create"}
    kinds = {each.kind for each in made}
    assert kinds == {kind for owner in operator.installation.owners() for kind in owner.texts} - UNDECLARED
    assert {each.action for each in await operator.apply(text)} == {"unchanged"}

    changed = await operator.apply(
        text.replace("name: Acme", "name: Acme Inc.")
        .replace("Cost center", "Where it is paid")
        .replace("description: Deploys", "description: Ships")
        .replace("Those who help", "Those who run it")
        .replace("locality: Oslo", "locality: Bergen")
        .replace("client_name: Argo", "client_name: Argo Workflows")
        .replace("See where it is paid", "Know who pays")
        .replace("name: Tools", "name: More tools")
        .replace("roles: [reader]", "roles: [reader, lister]")
        .replace("precedence: -1", "precedence: 7")
        .replace("description: Builds", "description: Builds and tests")
    )
    actions = {(each.kind, each.action) for each in changed}
    assert actions - {("Group", "unchanged")} == {(kind, "change") for kind in kinds - {"RoleAssignment"}} | {
        ("RoleAssignment", "unchanged")
    }

    found = await asyncio.to_thread(lambda: list(operator.installation.export(sorted(kinds))))
    text = declarations.write(found, schema="x")
    assert {each.action for plan in await operator.plan(text) for each in plan.steps} == {"unchanged"}


async def test_clients_that_registered_themselves_and_the_console_are_nobodys_to_declare(operator: Operator) -> None:
    found = await asyncio.to_thread(lambda: list(operator.installation.export(["Client"])))
    assert "watchword-console" not in {each["client_id"] for each in found}
    text = "kind: Client\nclient_id: watchword-console\nclient_name: x\nredirect_uris: [https://evil.example/]\n"
    with pytest.raises(DocumentError, match="console's own client cannot be changed"):
        await operator.plan(text)


async def test_when_an_owner_refuses_what_was_done_before_is_said_and_going_on_is_applying_again(
    operator: Operator, api: Api
) -> None:
    name = f"halves-{secrets.token_hex(3)}"
    await operator.apply(CLIENT.format(name, "One"))
    text = CLIENT.format(name, "Two") + f"---\nkind: User\nusername: {name}\n"
    planned = await operator.plan(text)
    (listed,) = (await api.get("/clients", short_name=name))["items"]  # type: ignore[misc]
    await api.change(f"/clients/{listed['client_id']}", client_name="Meanwhile")
    with pytest.raises(ApplyError) as refused:
        await operator.carry_out(planned)
    assert [(step.kind, step.action) for step in refused.value.applied] == [("User", "create")]
    again = by_kind(await operator.apply(text))
    assert {kind: step.action for kind, step in again.items()} == {"User": "unchanged", "Client": "change"}


async def test_documents_fit_their_schema(operator: Operator, platform: Platform) -> None:
    async with platform.api(token="").client as anybody:
        everything = (await anybody.get("/schema")).json()
        parts = [(await anybody.get(each["$ref"])).json() for each in everything["oneOf"]]
    merged = {
        "oneOf": [each for part in parts for each in part["oneOf"]],
        "$defs": {name: each for part in parts for name, each in part["$defs"].items()},
    }
    fits = jsonschema_rs.validator_for(merged)
    await operator.apply(DOCUMENTS)
    for document in await asyncio.to_thread(lambda: list(operator.installation.export())):
        fits.validate(document)
    for text, good in [
        ("kind: Client\nclient_name: x\nclient_secret: {env: X}\n", True),
        ("kind: Client\nclient_name: x\nclient_secret: {vault: X}\n", False),
        ("kind: Client\nclient_name: x\nshoe_size: 44\n", False),
        ("kind: User\nusername: x\npassword: {file: p}\n", True),
        ("kind: Nothing\n", False),
    ]:
        operator.file.write_text(text)
        (document,) = documents.read(operator.file)
        assert fits.is_valid({"kind": document.kind, **document.members}) is good, text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Klient\nname: x\n", r":1: kind Klient: one of Organization, "),
        ("kind: User\nemail: a@example.com\n", r":1: username: "),
        (
            "\n\nkind: Client\nclient_name: x\nredirect_uris:\n  - https://a.example/\n  - nonsense\n",
            r":7: redirect_uris/1",
        ),
        ("kind: User\nusername: apply-x\nshoe_size: 44\n", r":3: shoe_size"),
        ("kind: User\nusername: apply-x\nemail: nonsense\n---\nkind: User\nusername: 'a b c@'\n", r":3: email"),
        ("kind: Client\nclient_id: a b\nclient_name: x\n", r":2: client_id"),
    ],
)
async def test_errors_name_their_line(operator: Operator, text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=rf"documents\.yaml{said}"):
        await operator.plan(text)


async def test_an_ambiguous_name_is_refused(operator: Operator, api: Api) -> None:
    for _ in range(2):
        await api.create("/clients", client_name="Twin", redirect_uris=["https://twin.example/callback"])
    with pytest.raises(DocumentError, match=r":2: client_name: several clients have this name: give one a short_name"):
        await operator.plan("kind: Client\nclient_name: Twin\nredirect_uris: [https://twin.example/c]\n")


async def test_wrong_credentials_and_a_dead_address_are_said_plainly(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "documents.yaml"
    file.write_text("kind: User\nusername: apply-y\n")
    for url, token, said in [(platform.issuer, "ww_x.y", "documents.yaml:1"), ("http://127.0.0.1:1", "x", "no answer")]:
        installation = Installation(url, token)
        with pytest.raises(ApplyError, match=said):
            await asyncio.to_thread(lambda at=installation: at.plan(documents.read(file), environment={}))


async def test_documents_are_for_administrators(platform: Platform) -> None:
    async with platform.api(token="").client as nobody:
        for owner in ("admin", "directory"):
            assert (await nobody.post(f"/apply/{owner}", json={"documents": []})).status_code == 401
            assert (await nobody.get(f"/apply/{owner}?kind=Client")).status_code == 401
            assert (await nobody.get(f"/apply/{owner}/schema")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"documents": [1]}', b'{"documents": {}}', b'{"documents": [], "prune": ["Nothing"]}', b"{}"],
)
async def test_what_is_no_application_is_refused(platform: Platform, body: bytes) -> None:
    async with platform.api().client as admin:
        headers = {"Content-Type": "application/json"}
        answer = await admin.post("/apply/admin", content=body, headers=headers)
        assert answer.status_code == 400, answer.text
        large = b'{"documents": [], "x": "' + b"x" * 5_000_000 + b'"}'
        assert (await admin.post("/apply/admin", content=large, headers=headers)).status_code == 413


async def test_many_documents_are_one_transaction(operator: Operator, api: Api) -> None:
    prefix = f"many-{secrets.token_hex(3)}"
    text = "---\n".join(
        CLIENT.format(f"{prefix}-{n}", f"Many {n}") + "description: " + "x" * 500 + "\n" for n in range(150)
    )
    made = await operator.apply(text)
    assert [each.action for each in made] == ["create"] * 150
    assert {each.action for each in await operator.apply(text)} == {"unchanged"}


# The commands ---------------------------------------------------------------------------------------------------------

Run = Callable[..., "asyncio.Future[tuple[int, str, str]]"]


@pytest.fixture
def command(platform: Platform, tmp_path: Path) -> Callable[..., object]:
    """Runs `watchword`."""
    (tmp_path / "access.json").write_text(
        json.dumps({"issuer": platform.issuer, "admin_token": platform.admin.admin_token})
    )

    async def run(*args: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("watchword")),
            *args,
            *["--data-dir", str(tmp_path)],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_the_commands_show_apply_and_watch(command: Callable[..., object], tmp_path: Path, api: Api) -> None:
    name = f"cmd-{secrets.token_hex(3)}"
    files = tmp_path / "documents"
    files.mkdir()
    (files / "clients.yaml").write_text(CLIENT.format(name, "Before"))
    (files / "users.yml").write_text(f"kind: User\nusername: {name}\n")
    code, out, err = await command("plan", "-f", str(files))  # type: ignore[misc]
    assert code == 0, err
    assert f"+ Client {name}" in out
    assert "2 to create, 0 to change, 0 to delete, 0 unchanged" in out

    code, out, err = await command("drift", "-f", str(files), "--json")  # type: ignore[misc]
    assert code == 2, err
    assert {each["action"] for each in json.loads(out)} == {"create"}

    code, out, err = await command("apply", "-f", str(files), "--json")  # type: ignore[misc]
    assert code == 0, err
    assert {json.loads(line)["result"] for line in out.splitlines()} == {"created"}
    (listed,) = (await api.get("/clients", short_name=name))["items"]  # type: ignore[misc]

    code, out, _ = await command("drift", "-f", str(files))  # type: ignore[misc]
    assert code == 0
    await api.change(f"/clients/{listed['client_id']}", client_name="By hand")
    code, out, _ = await command("drift", "-f", str(files))  # type: ignore[misc]
    assert code == 2
    assert 'client_name: "By hand" → "Before"' in out

    code, out, err = await command("export", "--kind", "Client")  # type: ignore[misc]
    assert code == 0, err
    assert out.startswith("# yaml-language-server: $schema=")
    assert f"short_name: {name}" in out

    code, out, err = await command("export", "--kind", "Nothing")  # type: ignore[misc]
    assert code == 1
    assert "one of" in err
