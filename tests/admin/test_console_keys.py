"""Keys at the console: rotated as a matter of course, revoked in an emergency."""

from urllib.parse import urljoin

from tests.admin.conftest import sign_in

from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform


async def test_keys_are_rotated_and_revoked(own_platform: Platform, canary: Canary) -> None:
    async with own_platform.browser(canary) as browser:
        page = await sign_in(browser, own_platform, "/admin/keys")
        assert page.body.count(">current<") == 4, "three algorithms that sign, and the key of opaque tokens"
        page = await browser.submit("rotate", "rotate", alg="ES256")
        assert page.body.count(">next<") == 1

        (current,) = [
            link.removeprefix("revoke-")
            for link in page.links
            if link.startswith("revoke-") and _is(page.texts[f"key-{link.removeprefix('revoke-')}"], "current", "RS256")
        ]
        page = await browser.click(f"revoke-{current}")
        assert "cannot be undone" in page.body
        page = await browser.submit("confirm")
        assert page.status == 200, page.body
        assert page.texts[f"key-{current}"].startswith("revoked")
        assert page.body.count(">current<") == 4, "its successor has taken over"


async def test_public_keys_are_a_file(console: Browser) -> None:
    page = await console.open(f"{console.issuer}/admin/keys")
    assert 'download="jwks.json"' in page.body
    answer = await console.client.get(urljoin(page.url, page.links["jwks"]))
    published = {
        name.removeprefix("key-")
        for name, text in page.texts.items()
        if name.startswith("key-") and "signs" in text and text.startswith(("next", "current", "retiring"))
    }
    assert {key["kid"] for key in answer.json()["keys"]} == published
    assert published
    assert not any("d" in key for key in answer.json()["keys"]), "a private half"


def _is(text: str, *words: str) -> bool:
    return all(word in text for word in words)
