"""Whole sign-ins at authz: from the request to what the code stands for."""

from tests.authz.conftest import CALLBACK, ISSUER, Rig, Visit


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
