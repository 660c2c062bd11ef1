"""`watchword login`: tokens for who works in a terminal, or for a job."""

import json
import sys
import webbrowser
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchword.commands.remote import AsJson, fail, say

if TYPE_CHECKING:
    from watchword.signing_in import Account, Provider
    from watchword.token_file import TokenFile, Tokens


class Way(StrEnum):
    """How somebody signs in."""

    CODE = "code"
    DEVICE = "device"
    IMPLICIT_ID = "implicit-id"
    CLIENT_CREDENTIALS = "client-credentials"


def login(
    context: typer.Context,
    url: Annotated[str, typer.Argument(envvar="WATCHWORD_ISSUER", help="The issuer")],
    client_id: Annotated[str, typer.Option(envvar="WATCHWORD_CLIENT_ID", help="The client to sign in to")],
    client_secret: Annotated[
        str | None, typer.Option(envvar="WATCHWORD_CLIENT_SECRET", help="Better in the environment; a public has none")
    ] = None,
    grant: Annotated[Way, typer.Option(help="How to sign in")] = Way.CODE,
    scope: Annotated[str, typer.Option(help="What to ask for")] = "openid",
    token: Annotated[
        str | None, typer.Option(envvar="WATCHWORD_TOKEN", help="A trusted issuer's token, instead of signing in")
    ] = None,
    audience: Annotated[str | None, typer.Option(help="For whom exchanged tokens are")] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Token endpoint of another gateway, to exchange what was got")
    ] = None,
    no_exchange: Annotated[bool, typer.Option("--no-exchange", help="Keep the token as it is")] = False,
    redirect_host: Annotated[
        str, typer.Option(help="This machine's name where the provider refuses addresses: http://localhost")
    ] = "http://127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only show the address")] = False,
    print_token: Annotated[bool, typer.Option("--print-token", help="Write the token to standard output")] = False,
    pretty: Annotated[bool, typer.Option("--pretty", help="Write what the token says")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign in, keep the tokens for the next command, and renew them while that is possible."""
    import httpx2

    from watchword.signing_in import Account, LoginError, Provider, claims_of
    from watchword.token_file import TokenFile

    if exchange is not None and no_exchange:
        fail("--exchange and --no-exchange exclude each other")
    account = Account(url.rstrip("/"), client_id, client_secret, scope)
    try:
        with httpx2.Client(timeout=30.0) as http, TokenFile.of(context.obj).opened() as file:
            provider = Provider(http, account, _show)
            if token is None:
                found = _signed_in(provider, account, file, grant, redirect_host, with_browser=not no_browser)
                if exchange is not None:
                    kind = "id_token" if "id_token" in found else "access_token"
                    found = provider.for_token(str(found[kind]), kind, audience=audience, at=exchange)
            elif no_exchange:
                found = {"access_token": token}
            else:
                found = provider.for_token(token, "jwt", audience=audience, at=exchange)
            if token is not None or exchange is not None:
                file.put(f"{exchange or account.issuer} {client_id} exchanged", found)
        # implicit-id alone brings no access token.
        got = str(found.get("access_token") or found["id_token"])
        shown = claims_of(got) if pretty else {}
    except LoginError as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"the file of tokens cannot be used: {error}")
    if as_json:
        found = {"issuer": account.issuer, "client_id": client_id}
        found |= ({"token": got} if print_token else {}) | ({"says": shown} if pretty else {})
        say(json.dumps(found, indent=2))
    else:
        _tell(got, shown, print_token=print_token)


def _signed_in(
    provider: "Provider", account: "Account", file: "TokenFile", grant: Way, redirect_host: str, *, with_browser: bool
) -> "Tokens":
    """Those that are kept, while they can be used; renewed ones; new ones. Raises LoginError."""
    from watchword.loopback import Loopback
    from watchword.signing_in import LoginError, is_fresh

    source = f"{account.issuer} {account.client_id} {grant} {account.scope}"
    kept = file.get(source)
    if is_fresh(kept):
        return kept
    if refresh := kept.get("refresh_token"):
        try:
            found = provider.again(str(refresh))
        except LoginError as error:
            _show(f"Signing in again: {error}")
        else:
            file.put(source, found)
            return found
    match grant:
        case Way.CODE:
            with Loopback(redirect_host) as loopback:
                found = provider.by_browser(loopback, webbrowser.open if with_browser else lambda _url: None)
        case Way.IMPLICIT_ID:
            with Loopback(redirect_host) as loopback:
                found = provider.by_id_token(loopback, webbrowser.open if with_browser else lambda _url: None)
        case Way.DEVICE:
            found = provider.by_device()
        case Way.CLIENT_CREDENTIALS:
            found = provider.by_itself()
    file.put(source, found)
    return found


def _tell(token: str, shown: dict[str, Any], *, print_token: bool) -> None:
    if print_token:
        say(token)
    if shown:
        say(json.dumps(shown, indent=2))
    if not print_token and not shown:
        say("signed in")


def _show(line: str) -> None:
    """For the person; standard output is for the token."""
    print(line, file=sys.stderr, flush=True)
