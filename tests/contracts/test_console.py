"""The console does what `/api/v1` does: each operation has a page, each member a control, or a reason to have none."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from watchword_admin.client_documents import NewClient
from watchword_admin.console.rooms import CALLS
from watchword_directory.profiles import NewUser, UserChanges
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "openapi.json").read_text())
OPERATIONS = {
    (method.upper(), path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if path.startswith("/api/v1/")
}
# Operations that have no place at the console, by the reason.
ELSEWHERE = {
    "a person's own, at /account": {
        (method, path) for method, path in OPERATIONS if path == "/api/v1/me" or path.startswith("/api/v1/me/")
    },
    "documents in files: `watchword plan`, `apply` and `drift`": {
        ("POST", f"/api/v1/apply/{owner}") for owner in ("admin", "directory")
    },
    "schemas, for editors of such files": {
        ("GET", "/api/v1/schema"),
        ("GET", "/api/v1/apply/admin/schema"),
        ("GET", "/api/v1/apply/directory/schema"),
    },
    "one of a list, with nothing that the list does not show": {
        ("GET", "/api/v1/api-keys/{key_id}"),
        ("GET", "/api/v1/assignments/{assignment_id}"),
        ("GET", "/api/v1/client-documents/{document_id}"),
        ("GET", "/api/v1/grants/{grant_id}"),
        ("GET", "/api/v1/identities/{identity_id}"),
        ("GET", "/api/v1/registration-tokens/{token_id}"),
        ("GET", "/api/v1/verifiers/{verifier_id}"),
    },
    "a member of a document, sent as the file that it is": {
        ("PUT", "/api/v1/branding/logo"),
        ("DELETE", "/api/v1/branding/logo"),
    },
    "part of signing a person out everywhere, which a change of the person does": {("DELETE", "/api/v1/sessions")},
}
# Two ways to say the same change: a form uses one.
SAME = {"PUT": "PATCH", "PATCH": "PUT"}


def test_each_operation_has_a_page_or_a_reason_to_have_none() -> None:
    done = {call for calls in CALLS.values() for call in calls}
    done |= {(SAME[method], path) for method, path in done if method in SAME}
    elsewhere = set().union(*ELSEWHERE.values())
    assert OPERATIONS - done - elsewhere == set(), "give it a page (console/rooms.py), or a reason to have none"
    assert elsewhere & done == set(), "has a page: needs no reason"
    assert elsewhere - OPERATIONS == set(), "is no operation any more"


def test_the_console_does_nothing_else() -> None:
    described = OPERATIONS | {(SAME[method], path) for method, path in OPERATIONS if method in SAME}
    assert {call for calls in CALLS.values() for call in calls} - described == set()


# Members that a form has another control for.
CONTROLS = {"grant_types": "grant_authorization_code", "address": "address.locality"}
# Members that no form has, by the reason.
NOT_IN_A_FORM = {
    "a button of the page: it acts at once": {"enabled", "active"},
    "made here, and shown once: a page of its own replaces it": {"client_secret"},
}


@pytest.mark.parametrize(
    ("path", "documents"),
    [("/admin/applications/new", (NewClient,)), ("/admin/users/new", (NewUser, UserChanges))],
    ids=["applications", "users"],
)
async def test_each_member_that_may_be_written_has_a_control_or_a_reason_to_have_none(
    platform: Platform, canary: Canary, path: str, documents: tuple[type[BaseModel], ...]
) -> None:
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}{path}")
        page = await browser.submit(
            "username", "sign-in", username=platform.admin.username, password=platform.admin.password
        )
        page = await browser.open(f"{platform.issuer}{path}")
    controls = set(re.findall(r'<(?:input|textarea|select)[^>]* name="([^"]+)"', page.body))
    members = {name for document in documents for name in document.model_fields}
    elsewhere = set().union(*NOT_IN_A_FORM.values()) & members
    assert {name for name in members - elsewhere if CONTROLS.get(name, name) not in controls} == set()
    assert {name for name in elsewhere if name in controls} == set(), "has a control: needs no reason"
