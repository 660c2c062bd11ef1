"""A client that requires a permission is for those who hold it, and for nobody else."""

from typing import Any

import pytest
from tests.authz.conftest import Rig, Visit

from watchword_events.exports import ClientExport, Exported, UserExport

NEEDED = "orders.read"
WITHIN_ACME = [{"organization": "acme", "permissions": [NEEDED]}]
WITHIN_OTHER = [{"organization": "other", "permissions": [NEEDED]}]


async def arrived(rig: Rig, client: ClientExport, user: UserExport) -> Visit:
    """The person has entered the password."""
    visit = Visit(rig, rig.browser(), client)
    await visit.start()
    await visit.enter(user.username)
    return visit


@pytest.mark.parametrize(
    ("organization", "held", "may"),
    [
        pytest.param(None, {"permissions": [NEEDED]}, True, id="held everywhere"),
        pytest.param(None, {}, False, id="not held"),
        pytest.param(None, {"permissions": [NEEDED.upper()]}, False, id="in other letters"),
        pytest.param(None, {"groups": [NEEDED], "roles": [NEEDED]}, False, id="a group and a role of this name"),
        pytest.param(None, {"organizations": WITHIN_ACME}, False, id="held within an organization only"),
        pytest.param("acme", {"permissions": [NEEDED]}, True, id="held everywhere, so here"),
        pytest.param("acme", {"organizations": WITHIN_ACME}, True, id="held in the client's organization"),
        pytest.param("acme", {"organizations": WITHIN_OTHER}, False, id="held in another"),
        pytest.param("acme", {"organization": "acme"}, False, id="belongs to it, and holds nothing"),
    ],
)
async def test_who_may_use_it(rig: Rig, organization: str | None, held: dict[str, Any], may: bool) -> None:
    client = rig.client(required_permission=NEEDED, organization=organization)
    visit = await arrived(rig, client, await rig.person(**held))
    if may:
        assert (await visit.code()).client_id == client.client_id
    else:
        assert visit.answer["error"] == "access_denied"
        assert "code" not in visit.answer


async def test_nobody_is_asked_to_consent_to_what_is_refused_then(rig: Rig) -> None:
    client = rig.client(required_permission=NEEDED, require_consent=True)
    visit = await arrived(rig, client, await rig.person())
    assert visit.answer["error"] == "access_denied"


@pytest.mark.spec("OpenID Connect Core 3.1.2.6")
async def test_a_silent_request_is_told_so_too(rig: Rig) -> None:
    user = await rig.person()
    visit = await arrived(rig, rig.client(), user)
    silent = Visit(rig, visit.browser, rig.client(required_permission=NEEDED), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "access_denied"


async def test_who_was_given_the_permission_a_moment_ago_is_not_refused(rig: Rig) -> None:
    user = await rig.person()
    first = await arrived(rig, rig.client(), user)
    client = rig.client(required_permission=NEEDED)
    given = user.model_copy(update={"permissions": (NEEDED,), "claims_version": 2})
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=given)  # and nobody has told authz
    visit = Visit(rig, first.browser, client)
    await visit.start()
    assert (await visit.code()).client_id == client.client_id
