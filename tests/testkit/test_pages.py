"""Pages as a person without JavaScript uses them."""

import pytest

from watchword_testkit.pages import Page

LOGIN = """<!doctype html><html><body><main>
<h1 id="title">Sign <em>in</em></h1>
<form method="post" action="/login?flow=f&amp;x=1">
  <input type="hidden" name="csrf" value="c&quot;1">
  <input name="username"><input name="password" type="password">
  <input type="checkbox" name="remember" value="1">
  <button id="sign-in">Sign in</button>
</form>
<a id="provider-Okta" href="/login/provider/Okta?flow=f">Continue with <b>Okta</b></a> <a href="help">Get help</a>
<form method="post" id="consent"><button name="decision" value="allow" id="allow">Allow</button>
<button name="decision" value="deny" id="deny">Deny</button></form>
</main></body></html>"""


@pytest.fixture
def page() -> Page:
    """The page above."""
    return Page.of("http://localhost/a/b", 200, {"content-type": "text/html; charset=utf-8"}, LOGIN)


def test_a_form_is_sent_with_what_it_came_with(page: Page) -> None:
    form = page.form_with("username")
    assert (form.method, form.action) == ("POST", "http://localhost/login?flow=f&x=1")
    sent = form.filled("sign-in", username="alice", password="pw")
    assert sent == {"csrf": 'c"1', "username": "alice", "password": "pw", "remember": ""}


def test_the_pressed_button_travels_with_the_form(page: Page) -> None:
    form = page.form_with("decision")
    assert form.action == "http://localhost/a/b"
    assert form.filled("deny") == {"decision": "deny"}


def test_links_and_texts_are_found_by_id(page: Page) -> None:
    assert page.links == {
        "provider-Okta": "http://localhost/login/provider/Okta?flow=f",
        "Get help": "http://localhost/a/help",
    }
    assert page.texts["title"] == "Sign in"
    assert page.has("provider-Okta")
    assert not page.has("provider-Google")


def test_fields_and_buttons_that_are_not_there_are_refused(page: Page) -> None:
    form = page.form_with("username")
    with pytest.raises(KeyError, match="otp"):
        form.filled(otp="1")
    with pytest.raises(KeyError, match="verify"):
        form.filled("verify")
    with pytest.raises(LookupError, match="otp"):
        page.form_with("otp")
