"""Keys at the console: rotated as a matter of course, revoked in an emergency."""

from tests.admin.conftest import sign_in

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


def _is(text: str, *words: str) -> bool:
    return all(word in text for word in words)
