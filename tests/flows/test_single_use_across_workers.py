"""What may happen once happens once, whichever of three workers is asked, and however many ask at the same time."""

import asyncio
import secrets
from collections import Counter

import httpx2
import pytest

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"


@pytest.fixture
def api(workers: WorkerPlatform, canary: Canary) -> Api:
    """The administrator's client."""
    return workers.api(canary)


@pytest.fixture
async def party(workers: WorkerPlatform, api: Api, canary: Canary) -> Party:
    """A confidential client."""
    return await Party.registered(api, workers.issuer, canary)


async def person(api: Api) -> str:
    """The user name of somebody new with the password PASSWORD."""
    username = f"user-{secrets.token_hex(4)}"
    await api.create("/users", username=username, email=f"{username}@example.com", password=PASSWORD)
    return username


async def at_the_code(workers: WorkerPlatform, party: Party, username: str, canary: Canary) -> tuple[SignIn, str]:
    """A sign-in that has come back to the application with its code."""
    sign_in = SignIn(workers.browser(canary), party)
    await sign_in.start()
    await sign_in.enter(username, PASSWORD)
    await sign_in.decide()
    return sign_in, await sign_in.code()


async def redeem(party: Party, sign_in: SignIn, code: str, **changed: str) -> httpx2.Response:
    form = {"code": code, "redirect_uri": party.redirect_uri, "code_verifier": sign_in.verifier, **changed}
    return await party.ask("token", grant_type="authorization_code", **form)


@pytest.mark.spec("RFC 6749 4.1.2; RFC 9700 4.5")
async def test_of_50_redemptions_of_a_code_one_succeeds_and_its_tokens_die(
    workers: WorkerPlatform, api: Api, party: Party, canary: Canary
) -> None:
    sign_in, code = await at_the_code(workers, party, await person(api), canary)
    answers = await asyncio.gather(*[redeem(party, sign_in, code) for _ in range(50)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 49}
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
    tokens = next(answer.json() for answer in answers if answer.status_code == 200)
    async with asyncio.timeout(30):
        while (await party.userinfo(tokens["access_token"])).status_code != 401:
            await asyncio.sleep(0.01)
    refreshed = await party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refreshed.json()["error"] == "invalid_grant"


@pytest.mark.spec("RFC 6749 4.1.3")
async def test_another_client_cannot_redeem_a_code_and_does_not_use_it_up(
    workers: WorkerPlatform, api: Api, party: Party, canary: Canary
) -> None:
    sign_in, code = await at_the_code(workers, party, await person(api), canary)
    thief = await Party.registered(api, workers.issuer, canary)
    assert (await redeem(thief, sign_in, code)).json()["error"] == "invalid_grant"
    assert (await redeem(party, sign_in, code)).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"code_verifier": "x" * 43}, id="wrong-verifier"),
        pytest.param({"redirect_uri": "https://app.example/other"}, id="other-redirect-uri"),
        pytest.param({"redirect_uri": ""}, id="no-redirect-uri"),
        pytest.param({"code_verifier": ""}, id="no-verifier"),
    ],
)
@pytest.mark.spec("RFC 7636 4.6; RFC 6749 4.1.3")
async def test_a_wrong_redemption_uses_nothing_up(
    workers: WorkerPlatform, api: Api, party: Party, canary: Canary, changed: dict[str, str]
) -> None:
    sign_in, code = await at_the_code(workers, party, await person(api), canary)
    answer = await redeem(party, sign_in, code, **changed)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}
    assert (await redeem(party, sign_in, code)).status_code == 200


@pytest.mark.row(20)
@pytest.mark.spec("RFC 6749 6; RFC 9700 4.14.2")
async def test_20_parallel_refreshes_leave_one_head_and_reuse_kills_the_family(
    workers: WorkerPlatform, api: Api, party: Party, canary: Canary
) -> None:
    tokens = await SignIn(workers.browser(canary), party).with_password(await person(api), PASSWORD)
    first = tokens["refresh_token"]
    answers = await asyncio.gather(
        *[party.ask("token", grant_type="refresh_token", refresh_token=first) for _ in range(20)]
    )
    successors = {answer.json().get("refresh_token") for answer in answers}
    assert len(successors - {None}) == 1, "a retry within the window gets the same successor"
    (second,) = successors - {None}
    third = (await party.tokens(grant_type="refresh_token", refresh_token=str(second)))["refresh_token"]
    reused = await party.ask("token", grant_type="refresh_token", refresh_token=first)
    assert reused.json()["error"] == "invalid_grant"
    async with asyncio.timeout(30):
        while (await party.userinfo(tokens["access_token"])).status_code != 401:
            await asyncio.sleep(0.01)
    assert (await party.ask("token", grant_type="refresh_token", refresh_token=third)).status_code == 400


async def test_new_clients_and_users_work_at_once_while_nats_is_down(
    workers: WorkerPlatform, api: Api, canary: Canary
) -> None:
    await asyncio.to_thread(workers.nats.kill)
    try:
        for _ in range(3):
            party = await Party.registered(api, workers.issuer, canary)
            username = await person(api)
            tokens = await SignIn(workers.browser(canary), party).with_password(username, PASSWORD)
            user_id = (await party.userinfo(tokens["access_token"])).json()["sub"]
            await api.change(f"/users/{user_id}", active=False)
            async with asyncio.timeout(30):
                while (await party.userinfo(tokens["access_token"])).status_code != 401:
                    await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(workers.nats.start)
