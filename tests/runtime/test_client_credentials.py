"""Reading client credentials; that they are compared is tested where clients call (tests/token, tests/authz)."""

import base64

import pytest

from watchword_runtime.client_credentials import read_credentials
from watchword_web.errors import OAuthError


def basic(text: str | bytes, scheme: str = "Basic") -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(raw).decode()}".encode()


@pytest.mark.spec("RFC 6749 2.3.1; RFC 7617 2; RFC 6749 3.2.1")
def test_basic_carries_an_urlencoded_name_and_secret() -> None:
    read = read_credentials(basic("app%3A1:s%2Be+c"), {})
    assert (read.client_id, read.secret, read.way) == ("app:1", "s+e c", "client_secret_basic")
    assert read_credentials(basic("app:a:b", "bAsIc"), {}).secret == "a:b"


@pytest.mark.spec("RFC 6749 2.3")
@pytest.mark.parametrize(
    ("authorization", "form", "error"),
    [
        pytest.param(None, {}, "invalid_client", id="nothing"),
        pytest.param(None, {"client_secret": "s"}, "invalid_client", id="a secret without a name"),
        pytest.param(b"Bearer abc", {}, "invalid_client", id="bearer token"),
        pytest.param(b"Basic", {}, "invalid_client", id="Basic without a value"),
        pytest.param(b"Basic !!!", {}, "invalid_client", id="not base64"),
        pytest.param(basic("nocolon"), {}, "invalid_client", id="no colon"),
        pytest.param(basic(":secret"), {}, "invalid_client", id="no name"),
        pytest.param(basic("app:s\x00"), {}, "invalid_client", id="NUL"),
        pytest.param(basic("app%00:s"), {}, "invalid_client", id="an escaped NUL in the name"),
        pytest.param(basic("app:s%00"), {}, "invalid_client", id="an escaped NUL in the secret"),
        pytest.param(basic(b"app:\xff"), {}, "invalid_client", id="not UTF-8"),
        pytest.param(basic("app:%ff"), {}, "invalid_client", id="escaped, not UTF-8"),
        pytest.param(basic("app:s"), {"client_secret": "s"}, "invalid_request", id="two methods at once"),
        pytest.param(basic("app:s"), {"client_id": "other"}, "invalid_request", id="two names"),
    ],
)
def test_credentials_that_cannot_be_read_are_refused(
    authorization: bytes | None, form: dict[str, str], error: str
) -> None:
    with pytest.raises(OAuthError) as refused:
        read_credentials(authorization, form)
    assert refused.value.error == error
