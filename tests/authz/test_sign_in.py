"""Whole sign-ins at authz: from the request to what the code stands for."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit, running

from watchword.gateway import BasePath
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres


@pytest.mark.spec("OpenID Connect Core 3.1.2, 3.1.2.5")
async def test_password_sign_in_ends_with_a_code(rig: Rig) -> None:
    """A client and a user that were both created a millisecond ago."""
    user, client = await rig.person(), rig.client()
    visit = Visit(rig, rig.browser(), client)
    await visit.start()
    assert visit.browser.page.url.startswith(f"{ISSUER}/login?flow=")
    await visit.enter(user.username)
    assert visit.answer["state"] == visit.state
    assert visit.answer["iss"] == ISSUER
    code = await visit.code()
    assert (code.user_id, code.client_id, code.redirect_uri) == (user.id, client.client_id, CALLBACK)
    assert code.scope == ("openid", "profile")
    assert (code.nonce, code.amr, code.idp) == ("n-1", ("pwd",), None)
    assert (code.user_version, code.client_version) == (1, 1)
    session = await rig.session(code.sid)
    assert session is not None
    assert session.expires_at == code.session_expires_at


async def test_twenty_parallel_decisions_give_one_code(rig: Rig) -> None:
    user, visit = await rig.person(), Visit(rig, rig.browser(), rig.client(require_consent=True))
    await visit.start()
    await visit.enter(user.username)
    form = visit.browser.page.form_with("decision")
    data, client = form.filled("allow"), visit.browser.client
    answers = await asyncio.gather(*(client.post(form.action, data=data) for _ in range(20)))
    codes = [answer for answer in answers if "code=" in answer.headers.get("location", "")]
    assert len(codes) == 1
    assert all(answer.status_code < 500 for answer in answers)


async def test_crowd_is_told_to_wait(rig: Rig) -> None:
    """The hashing pool is bounded: what does not fit is refused with a time to come back, and nothing breaks."""
    visits = [Visit(rig, rig.browser(), rig.client()) for _ in range(3)]
    for visit in visits:
        await visit.start()

    async def attempt(number: int) -> httpx2.Response:
        visit = visits[number % 3]
        form = visit.browser.page.form_with("username")
        data = form.filled("sign-in", username=f"crowd-{number}", password="x")
        return await visit.browser.client.post(form.action, data=data)

    answers = await asyncio.gather(*(attempt(number) for number in range(90)))
    assert {answer.status_code for answer in answers} <= {400, 503}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


async def test_public_url_with_a_path(postgres: Postgres, database_template: Template, tmp_path: Path) -> None:
    """Pages, cookies and redirects stay below it."""
    issuer = f"{ISSUER}/auth"
    async with running(postgres, database_template, tmp_path, TestClock(), Canary(), public_url=issuer) as rig:
        user, client = await rig.person(), rig.client()
        browser = Browser(ISSUER, rig.canary)
        browser.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(BasePath(rig.app.app, "/auth")))
        visit = Visit(rig, browser, client)
        query = httpx2.QueryParams(visit.query)
        await browser.open(f"{issuer}/oauth2/authorize?{query}")
        assert browser.page.url.startswith(f"{issuer}/login?flow=")
        await visit.enter(user.username)
        assert visit.answer["iss"] == issuer
        assert {cookie.path for cookie in browser.client.cookies.jar} == {"/auth"}
        await browser.open(f"{issuer}/oauth2/logout")
        await browser.submit("sign-out", "sign-out")
        assert browser.page.links["sign-in-again"] == f"{issuer}/login"


@pytest.mark.row(52)
async def test_refusal_leaves_no_sooner_than_the_floor(
    postgres: Postgres, database_template: Template, tmp_path: Path
) -> None:
    """Known or unknown: what was looked up, pulled and verified shows in no timing."""
    clock, canary = TestClock(), Canary()
    async with running(postgres, database_template, tmp_path, clock, canary, refusal_floor_ms="300") as rig:
        names = (await rig.person()).username, "nobody-here"
        for name in names:
            visit = Visit(rig, rig.browser(), rig.client())
            await visit.start()
            began = asyncio.get_running_loop().time()
            await visit.enter(name, "wrong")
            assert asyncio.get_running_loop().time() - began >= 0.3
