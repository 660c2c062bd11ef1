"""RP-initiated logout: which requests are believed (threat 4)."""

from datetime import UTC, datetime

import pytest

from watchword_authz.hints import Hint
from watchword_authz.logout import check, may_end_now, named_client
from watchword_authz.models import UserSession
from watchword_events.exports import ClientExport
from watchword_web.errors import PageError

BYE = "https://app.example/bye"
CLIENT = ClientExport(client_id="c1", client_name="App", post_logout_redirect_uris=(BYE,))
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def session(sid: str = "s1", user_id: str = "u1") -> UserSession:
    """A session of one user."""
    return UserSession(
        id=sid, secret_hash=b"", user_id=user_id, auth_time=NOW, rev=1, created_at=NOW, seen_at=NOW, ends_at=NOW,
        expires_at=NOW,
    )  # fmt: skip


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 2")
def test_registered_uri_is_returned_to_with_the_state() -> None:
    asked = check({"post_logout_redirect_uri": BYE, "state": "a b"}, CLIENT, Hint("u1", "c1", "s1"))
    assert asked.target == f"{BYE}?state=a+b"


FOREIGN = {
    "suffix": f"{BYE}/more",
    "query": f"{BYE}?x=1",
    "case": "https://APP.example/bye",
    "other host": "https://evil.example/bye",
    "scheme relative": "//evil.example",
    "javascript": "javascript:alert(1)",
    "empty path": "https://app.example",
}


@pytest.mark.row(4)
@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 3")
@pytest.mark.parametrize("uri", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_uri_is_never_returned_to(uri: str) -> None:
    assert check({"post_logout_redirect_uri": uri}, CLIENT, Hint("u1", "c1", "s1")).target is None


@pytest.mark.row(4)
def test_uri_of_another_client_is_never_returned_to() -> None:
    other = ClientExport(client_id="c2", client_name="Other", post_logout_redirect_uris=("https://other.example/",))
    assert check({"post_logout_redirect_uri": BYE}, other, Hint("u1", "c2", None)).target is None


def test_disabled_client_is_not_returned_to() -> None:
    off = CLIENT.model_copy(update={"enabled": False})
    assert check({"post_logout_redirect_uri": BYE}, off, Hint("u1", "c1", None)).target is None


def test_without_a_client_nothing_is_believed() -> None:
    asked = check({"post_logout_redirect_uri": BYE}, None, Hint("u1", "c1", "s1"))
    assert asked.target is None
    assert asked.hint is None


def test_hint_and_client_id_must_agree() -> None:
    assert named_client({"client_id": "c2"}, Hint("u1", "c1", None)) is None
    assert named_client({"client_id": "c1"}, Hint("u1", "c1", None)) == "c1"
    assert named_client({}, Hint("u1", "c1", None)) == "c1"
    assert named_client({"client_id": "c1"}, None) == "c1"


def test_malformed_state_is_refused() -> None:
    with pytest.raises(PageError):
        check({"state": "a\r\nb"}, CLIENT, None)


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 6")
@pytest.mark.parametrize(
    ("hint", "may"),
    [
        (None, False),
        (Hint("u1", "c1", "s1"), True),
        (Hint("u1", "c1", None), True),
        (Hint("u2", "c1", "s1"), False),
        (Hint("u1", "c1", "another"), False),
    ],
    ids=["no hint", "this session", "this user", "another user", "another session"],
)
def test_person_is_asked_unless_the_hint_means_this_session(hint: Hint | None, may: bool) -> None:
    assert may_end_now(check({}, CLIENT, hint), session()) is may
