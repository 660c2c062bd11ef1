"""Nobody gets into an account by giving it a new way in, but who stands as high as the person it is of."""

import pytest

from watchword_authz.routes.edge import check_rank
from watchword_events.exports import UserExport
from watchword_runtime.access import Caller
from watchword_web.errors import Problem

OWNER, ADMINISTRATOR, HELP_DESK = ("owner", "administrator"), ("administrator",), ("help-desk",)


def user(roles: tuple[str, ...]) -> UserExport:
    return UserExport(id="u", username="u", claims_version=1, roles=roles)


def caller(roles: tuple[str, ...] | None) -> Caller:
    """Somebody with these roles; None for a client that administers for itself."""
    scope = frozenset({"watchword:admin"})
    return Caller(None, "c", scope) if roles is None else Caller("c", None, scope, roles=frozenset(roles))


@pytest.mark.parametrize(
    ("by", "of"),
    [(OWNER, OWNER), (OWNER, ADMINISTRATOR), (ADMINISTRATOR, ADMINISTRATOR), (None, ADMINISTRATOR), (HELP_DESK, ()),
     (HELP_DESK, HELP_DESK)],
)  # fmt: skip
def test_whoever_stands_as_high_may(by: tuple[str, ...] | None, of: tuple[str, ...]) -> None:
    check_rank(caller(by), user(of))


@pytest.mark.parametrize(
    ("by", "of"),
    [(ADMINISTRATOR, OWNER), (None, OWNER), (HELP_DESK, ADMINISTRATOR), (HELP_DESK, OWNER), ((), ADMINISTRATOR)],
)
def test_whoever_stands_below_may_not(by: tuple[str, ...] | None, of: tuple[str, ...]) -> None:
    with pytest.raises(Problem) as refused:
        check_rank(caller(by), user(of))
    assert refused.value.status == 403
