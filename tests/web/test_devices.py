"""What people call their browser."""

import pytest

from watchword_web.devices import device_of

_CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) {}/142.0.0.0 Safari/537.36"
_PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) {} Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (_CHROME.format("Chrome"), "Chrome on Linux"),
        (_CHROME.format("HeadlessChrome"), "Chrome on Linux"),
        (_CHROME.format("Chrome") + " Edg/142.0.0.0", "Edge on Linux"),
        (_CHROME.format("Chrome") + " OPR/124.0.0.0", "Opera on Linux"),
        (_PHONE.format("Version/18.6 Mobile/15E148"), "Safari on iPhone"),
        (_PHONE.format("CriOS/142.0.7444.46 Mobile/15E148"), "Chrome on iPhone"),
        (_PHONE.format("FxiOS/145.0 Mobile/15E148"), "Firefox on iPhone"),
        (_PHONE.format("EdgiOS/142.0.3595.66 Version/18.0 Mobile/15E148"), "Edge on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Windows"),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 16181.61.0) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36",
            "Chrome on ChromeOS",
        ),
        ("curl/8.17.0", "Unknown device"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "macOS"),
        ("", "Unknown device"),
    ],
)
def test_a_browser_is_called_as_people_call_it(user_agent: str, name: str) -> None:
    assert str(device_of(user_agent)) == name
