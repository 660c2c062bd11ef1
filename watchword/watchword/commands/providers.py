"""`watchword providers`: through whom people sign in."""

from typing import Annotated, Any

import typer

from watchword.commands.remote import (
    DATA_DIR,
    AsJson,
    DataDir,
    Remote,
    Token,
    Url,
    Yes,
    confirm,
    fail,
    progress,
    remote,
    show,
    tell,
    told,
)

app = typer.Typer(help="Identity providers.", no_args_is_help=True)

_COLUMNS = ("id", "display_name", "preset", "enabled", "issuer")
Which = Annotated[str, typer.Argument(help="Id of the provider, as it stands in its callback URL")]
Invite = Annotated[bool, typer.Option("--invite", help="Send whoever has no other way in a link to set a password")]
EndSessions = Annotated[bool, typer.Option("--end-sessions", help="End at once what came through it")]


@app.command("list")
def list_providers(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All identity providers, by id."""
    with remote(data_dir, url, token) as installation:
        show(installation.items("/providers"), _COLUMNS, as_json=as_json)


@app.command("show")
def show_provider(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """One provider, with what has to be registered there."""
    with remote(data_dir, url, token) as installation:
        tell(installation.call("GET", f"/providers/{which}"), as_json=as_json)


@app.command()
def create(
    context: typer.Context,
    which: Which,
    client_id: Annotated[str | None, typer.Option(help="Of Watchword, at the provider")] = None,
    issuer: Annotated[str | None, typer.Option(help="Exactly as the provider spells it")] = None,
    preset: Annotated[str, typer.Option(help="Kind of provider, of `watchword providers presets`")] = "oidc",
    display_name: Annotated[str | None, typer.Option(help="On the button; the id when left out")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other member: name=value")] = None,
    secret_env: Annotated[str | None, typer.Option(help="Variable that holds the client secret")] = None,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Configure a provider, whose button is on the login page at once."""
    body: dict[str, Any] = {
        "id": which,
        "preset": preset,
        "display_name": display_name or which,
    }
    body |= {name: value for name, value in (("issuer", issuer), ("client_id", client_id)) if value is not None}
    for setting in settings or []:
        name, sign, value = setting.partition("=")
        if not sign:
            fail(f"--set takes name=value, not {setting!r}")
        body[name] = value
    if secret_env is not None:
        secret = context.obj.get(secret_env)
        if not secret:
            fail(f"the variable {secret_env} is not set")
        body["client_secret"] = secret
    with remote(data_dir, url, token) as installation:
        tell(installation.call("POST", "/providers", body), as_json=as_json)


@app.command()
def disable(
    which: Which,
    end_sessions: EndSessions = False,
    invite: Invite = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Nobody signs in through it until it is enabled."""
    asked = {"end_sessions": end_sessions, "invite": invite}
    params = {name: "true" for name, is_asked in asked.items() if is_asked}
    with remote(data_dir, url, token) as installation:
        tell(installation.call("PATCH", f"/providers/{which}", {"enabled": False}, params), as_json=as_json)


@app.command()
def enable(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Let people sign in through it again."""
    with remote(data_dir, url, token) as installation:
        tell(installation.call("PATCH", f"/providers/{which}", {"enabled": True}), as_json=as_json)


@app.command()
def presets(data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Kinds of providers, with what each asks for."""
    with remote(data_dir, url, token) as installation:
        found = installation.call("GET", "/providers/presets")["items"]
    rows = [
        {**each, "asks_for": ", ".join(field["name"] for field in each["fields"][: each["first"]])} for each in found
    ]
    show(rows, ("preset", "display_name", "kind", "asks_for"), as_json=as_json)


@app.command("test")
def check(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Look at a provider without anybody signing in: discovery, keys, certificates, client, callback URL."""
    with remote(data_dir, url, token) as installation:
        found = installation.call("POST", f"/providers/{which}/test")
    show(found["checks"], ("check", "outcome", "detail"), as_json=as_json)
    if found["outcome"] == "failed":
        raise typer.Exit(1)


@app.command()
def dependents(
    which: Which, data_dir: DataDir = DATA_DIR, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Who could not sign in any more without this provider: no password, no passkey, no other provider."""
    with remote(data_dir, url, token) as installation:
        show(_dependents(installation, which), ("id", "username", "name", "email"), as_json=as_json)


@app.command()
def delete(
    which: Which,
    yes: Yes = False,
    invite: Invite = False,
    data_dir: DataDir = DATA_DIR,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Remove a provider, and end everything that came through it."""
    with remote(data_dir, url, token) as installation:
        if not yes:
            lost = len(_dependents(installation, which))
            confirm(f"Remove the provider {which}? {lost} of its people have no other way to sign in.", yes)
        installation.call("DELETE", f"/providers/{which}", None, {"invite": "true"} if invite else None)
        told(f"deleted {which}", {"deleted": which}, as_json=as_json)


def _dependents(installation: Remote, which: str) -> list[dict[str, Any]]:
    """Active users for whom the provider is the only way in."""
    with progress(f"Looking for who depends on {which}") as goes_on:
        people = {each["user_id"] for each in installation.items("/identities", provider_id=which, only="true")}
        found = []
        for number, user_id in enumerate(sorted(people), start=1):
            goes_on(f"Looking at {number} of {len(people)} people")
            state = installation.call("GET", f"/credentials/{user_id}")
            if not (state["has_password"] or state["passkeys"]):
                user = installation.call("GET", f"/users/{user_id}")
                found += [user] if user["active"] else []
    return found
