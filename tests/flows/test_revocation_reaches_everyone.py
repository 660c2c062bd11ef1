"""What ends something ends it everywhere: at each worker, at each endpoint, and in a program with the verifier."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client
from watchword_testkit.signin import Party, SignIn
from watchword_verifier import ClientCredentials, HttpFeed, TokenRefused, Verifier

PASSWORD = "correct horse battery staple"


@dataclass
class Signed:
    """A person with tokens at one application, and a resource server that verifies them locally."""

    platform: WorkerPlatform
    api: Api
    party: Party
    verifier: Verifier
    user_id: str
    tokens: dict[str, str]
    sign_in: SignIn


@pytest.fixture
async def signed(workers: WorkerPlatform, canary: Canary, request: pytest.FixtureRequest) -> AsyncIterator[Signed]:
    """A user of the test's own who has just signed in."""
    api = workers.api(canary)
    audience = "https://api.example"
    party = await Party.registered(api, workers.issuer, canary, audience=[audience])
    reader = await Party.registered(
        api,
        workers.issuer,
        canary,
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        scope="revocations:read",
    )
    name = request.node.name.partition("[")[2].rstrip("]") or "user"
    username = f"{name}-{party.client_id[:8]}"
    user = await api.create("/users", username=username, email=f"{username}@example.com", password=PASSWORD)
    sign_in = SignIn(workers.browser(canary), party)
    tokens = await sign_in.with_password(username, PASSWORD)
    assert reader.client_secret is not None
    credentials = ClientCredentials(workers.issuer, reader.client_id, reader.client_secret)
    verifier = Verifier(workers.issuer, audience, feed=HttpFeed(workers.issuer, credentials))
    await verifier.start()
    yield Signed(workers, api, party, verifier, str(user["id"]), tokens, sign_in)
    await verifier.aclose()


async def disable_user(signed: Signed) -> None:
    await signed.api.change(f"/users/{signed.user_id}", active=False)


async def delete_user(signed: Signed) -> None:
    await signed.api.delete(f"/users/{signed.user_id}")


async def end_session(signed: Signed) -> None:
    sessions = await signed.api.get("/sessions", user_id=signed.user_id)
    items = sessions["items"]
    assert isinstance(items, list)
    await signed.api.delete(f"/sessions/{items[0]['id']}")


async def end_grant(signed: Signed) -> None:
    answer = await signed.party.ask("revoke", token=signed.tokens["refresh_token"])
    assert answer.status_code == 200


async def revoke_token(signed: Signed) -> None:
    answer = await signed.party.ask("revoke", token=signed.tokens["access_token"])
    assert answer.status_code == 200


async def disable_client(signed: Signed) -> None:
    await signed.api.change(f"/clients/{signed.party.client_id}", enabled=False)


async def revoke_everything(signed: Signed) -> None:
    await signed.api.create("/revocations", claim="all")


async def revoke_subject(signed: Signed) -> None:
    await signed.api.create("/revocations", claim="sub", value=signed.user_id)


CAUSES: list[Callable[[Signed], Awaitable[None]]] = [
    disable_user,
    delete_user,
    end_session,
    end_grant,
    revoke_token,
    disable_client,
    revoke_subject,
]


async def userinfo_status(signed: Signed) -> set[int]:
    """The statuses of many requests, so that each worker answered some."""
    async with http_client() as http:
        headers = {"Authorization": f"Bearer {signed.tokens['access_token']}", "Connection": "close"}
        url = f"{signed.platform.issuer}/oauth2/userinfo"
        answers = await asyncio.gather(*[http.get(url, headers=headers) for _ in range(24)])
    return {answer.status_code for answer in answers}


async def refused_soon(check: Callable[[], Awaitable[bool]]) -> None:
    """The promise is milliseconds; the bound here only tells a slow machine from a broken one."""
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.01)


@pytest.mark.row(25)
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
@pytest.mark.spec("RFC 7009 2.1")
async def test_a_cause_of_death_is_obeyed_by_every_worker_and_verifier(
    signed: Signed, cause: Callable[[Signed], Awaitable[None]]
) -> None:
    access_token = signed.tokens["access_token"]
    assert (await signed.verifier.verify(access_token)).subject == signed.user_id
    assert await userinfo_status(signed) == {200}

    await cause(signed)

    async def all_refuse() -> bool:
        return await userinfo_status(signed) == {401}

    async def verifier_refuses() -> bool:
        try:
            await signed.verifier.verify(access_token)
        except TokenRefused:
            return True
        return False

    await refused_soon(all_refuse)
    await refused_soon(verifier_refuses)
    if cause is not revoke_token:
        refresh = await signed.party.ask(
            "token", grant_type="refresh_token", refresh_token=signed.tokens["refresh_token"]
        )
        assert refresh.json()["error"] in {"invalid_grant", "invalid_client"}
        assert refresh.status_code in {400, 401}
    if cause is not disable_client:
        assert await signed.party.introspect(access_token) == {"active": False}


async def test_a_preview_counts_grants_and_sessions_and_ends_nothing(signed: Signed) -> None:
    async def counted(**body: object) -> tuple[int, int]:
        answer = await signed.api.call("POST", "/revocations", body, dry_run="true")
        assert answer.status_code == 200, answer.text
        shares = {each["id"]: (each["grants"], each["sessions"]) for each in answer.json()["by_user"]}
        return shares.get(signed.user_id, (0, 0))

    (session,) = (await signed.api.get("/sessions", user_id=signed.user_id))["items"]  # type: ignore[misc]  # a list
    assert await counted(claim="sub", value=signed.user_id) == (1, 1)
    assert await counted(claim="sid", value=session["id"]) == (1, 1)
    assert await counted(claim="client_id", value=signed.party.client_id) == (1, 0)
    assert await counted(claim="idp", value="nobody") == (0, 0)
    assert await counted(claim="all") == (1, 1)
    assert await counted(claim="all", issued_before=session["auth_time"]) == (0, 0)
    assert await userinfo_status(signed) == {200}
    await end_session(signed)
    assert await counted(claim="sub", value=signed.user_id) == (0, 0)


async def test_tokens_from_before_stay_dead_when_the_user_is_enabled_again(signed: Signed) -> None:
    await signed.api.change(f"/users/{signed.user_id}", active=False)
    await signed.api.change(f"/users/{signed.user_id}", active=True)

    async def all_refuse() -> bool:
        return await userinfo_status(signed) == {401}

    await refused_soon(all_refuse)
    user = await signed.api.get(f"/users/{signed.user_id}")
    again = SignIn(signed.platform.browser(), signed.party)
    signed.tokens = await again.with_password(str(user["username"]), PASSWORD)
    assert await userinfo_status(signed) == {200}


async def test_everything_issued_so_far_ends_at_once_and_new_sign_ins_work(signed: Signed) -> None:
    await revoke_everything(signed)

    async def all_refuse() -> bool:
        return await userinfo_status(signed) == {401}

    await refused_soon(all_refuse)
    page = await SignIn(signed.sign_in.browser, signed.party).start()
    assert page.has("username"), "the browser session must be over as well"
