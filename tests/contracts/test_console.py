"""The console does what `/api/v1` does: each operation has a page, or a reason to have none."""

import json
from pathlib import Path

from watchword_admin.console.rooms import CALLS

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
    "documents in files: `watchword plan`, `apply`, `drift` and `export`": {
        (method, f"/api/v1/apply/{owner}") for method in ("GET", "POST") for owner in ("admin", "directory")
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
