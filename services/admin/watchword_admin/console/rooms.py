"""The pages of the console, what each does at `/api/v1`, and so who may enter it: who may do the same there.

The permissions of the API are the one source. A page that is not in the table cannot be served; a control that leads
to a page which its reader may not enter is not shown.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Final
from urllib.parse import quote

from watchword_admin.console.kinds import KINDS
from watchword_events.exports import UserExport
from watchword_policy.administration import (
    ADMINISTRATOR,
    AUDITOR,
    HELP_DESK,
    ORGANIZATION_ADMINISTRATOR,
    OWNER,
    opens,
)
from watchword_runtime.access import administered

# Whoever has one of these has something to do here; whoever has one of EVERYWHERE, in the whole installation.
EVERYWHERE: Final = frozenset({OWNER, ADMINISTRATOR, HELP_DESK, AUDITOR})
ROLES: Final = EVERYWHERE | {ORGANIZATION_ADMINISTRATOR}
_API: Final = "/api/v1"
_APPLICATION: Final = "/admin/applications/{client_id}"
_CLIENT: Final = "/clients/{client_id}"
_GROUP: Final = "/admin/groups/{group_id}"
_ORGANIZATION: Final = "/admin/organizations/{organization_id}"
_DOMAIN: Final = "/organizations/{organization_id}/domains"
_PROVIDER: Final = "/admin/providers/{provider_id}"
_USER: Final = "/admin/users/{user_id}"
_REVOCATION: Final = "/admin/revocations/{entry_id}"

# Method and path of a page → what it cannot do without, at the API. Nothing: it belongs to everybody here.
_PAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "GET /admin": (),
    "POST /admin/sign-out": (),
    "GET /admin/events": ("GET /events/stream",),
    "GET /admin/events/stream": ("GET /events/stream",),
    "GET /admin/audit": ("GET /audit",),
    "GET /admin/audit/verification": ("GET /audit/verification",),
    "GET /admin/audit/export": ("GET /audit/export",),
    "GET /admin/configuration": ("GET /apply/directory", "GET /apply/admin"),
    "GET /admin/applications": ("GET /clients",),
    "GET /admin/applications/new": ("POST /clients",),
    "POST /admin/applications": ("POST /clients",),
    "GET /admin/applications/wizard": ("POST /clients", "POST /resources", "POST /rules"),
    "GET /admin/applications/wizard/{recipe_id}": ("POST /clients", "POST /resources", "POST /rules"),
    "POST /admin/applications/wizard/{recipe_id}": ("POST /clients", "POST /resources", "POST /rules"),
    f"GET {_APPLICATION}": (f"GET {_CLIENT}",),
    f"GET {_APPLICATION}/edit": (f"PATCH {_CLIENT}",),
    f"POST {_APPLICATION}": (f"PATCH {_CLIENT}",),
    f"GET {_APPLICATION}/trial": (f"GET {_CLIENT}", "GET /users", "POST /decisions/trial", "POST /grants/trial"),
    f"POST {_APPLICATION}/trial": (f"GET {_CLIENT}", "GET /users", "POST /decisions/trial", "POST /grants/trial"),
    f"POST {_APPLICATION}/secret": (f"POST {_CLIENT}/secrets",),
    f"POST {_APPLICATION}/secrets": (f"POST {_CLIENT}/secrets",),
    f"POST {_APPLICATION}/secrets/{{secret_id}}/remove": (f"DELETE {_CLIENT}/secrets/{{secret_id}}",),
    f"POST {_APPLICATION}/enable": (f"PATCH {_CLIENT}",),
    f"POST {_APPLICATION}/disable": (f"PATCH {_CLIENT}",),
    f"GET {_APPLICATION}/delete": (f"DELETE {_CLIENT}",),
    f"POST {_APPLICATION}/delete": (f"DELETE {_CLIENT}",),
    "GET /admin/providers": ("GET /providers",),
    "GET /admin/providers/new": ("GET /providers/presets", "POST /providers"),
    "POST /admin/providers": ("POST /providers",),
    f"GET {_PROVIDER}": ("GET /providers/{provider_id}",),
    f"POST {_PROVIDER}": ("PATCH /providers/{provider_id}",),
    f"GET {_PROVIDER}/test": ("GET /upstream/attempts", "GET /upstream/saml/{provider_id}"),
    f"POST {_PROVIDER}/test": ("POST /providers/{provider_id}/test",),
    f"POST {_PROVIDER}/trials": ("POST /upstream/trials",),
    f"POST {_PROVIDER}/preview": ("POST /identities/preview",),
    f"GET {_PROVIDER}/mapping": ("GET /providers/{provider_id}",),
    f"POST {_PROVIDER}/mapping": ("PATCH /providers/{provider_id}", "POST /identities/preview"),
    f"GET {_PROVIDER}/trials/{{trial_id}}": ("GET /upstream/trials/{trial_id}",),
    f"POST {_PROVIDER}/metadata": ("POST /upstream/saml/{provider_id}/refresh",),
    f"POST {_PROVIDER}/enable": ("PATCH /providers/{provider_id}",),
    f"GET {_PROVIDER}/disable": ("PATCH /providers/{provider_id}", "GET /identities", "POST /revocations"),
    f"POST {_PROVIDER}/disable": ("PATCH /providers/{provider_id}",),
    f"GET {_PROVIDER}/remove": ("DELETE /providers/{provider_id}", "GET /identities", "POST /revocations"),
    f"POST {_PROVIDER}/remove": ("DELETE /providers/{provider_id}",),
    "GET /admin/issuers": ("GET /issuers",),
    "GET /admin/issuers/new": ("POST /issuers",),
    "POST /admin/issuers": ("POST /issuers",),
    "GET /admin/issuers/{issuer_id}": ("GET /issuers/{issuer_id}",),
    "POST /admin/issuers/{issuer_id}": ("PUT /issuers/{issuer_id}",),
    "GET /admin/issuers/{issuer_id}/remove": ("DELETE /issuers/{issuer_id}",),
    "POST /admin/issuers/{issuer_id}/remove": ("DELETE /issuers/{issuer_id}",),
    "GET /admin/branding": ("GET /branding",),
    "POST /admin/branding": ("PUT /branding",),
    "GET /admin/branding/preview": ("GET /branding",),
    "POST /admin/branding/preview": ("PUT /branding",),
    "POST /admin/branding/reset": ("PUT /branding",),
    "GET /admin/mail": ("GET /mail",),
    "POST /admin/mail/test": ("GET /mail", "POST /mail/test"),
    "GET /admin/users": ("GET /users",),
    "GET /admin/users/new": ("POST /users",),
    "POST /admin/users": ("POST /users",),
    f"GET {_USER}": (
        "GET /users/{user_id}",
        "GET /users/{user_id}/rights",
        "GET /credentials/{user_id}",
        "GET /sessions",
        "GET /roles",
    ),
    f"GET {_USER}/edit": ("PATCH /users/{user_id}",),
    f"POST {_USER}": ("PATCH /users/{user_id}",),
    f"POST {_USER}/roles": ("PUT /users/{user_id}/roles",),
    f"POST {_USER}/enable": ("PATCH /users/{user_id}",),
    f"GET {_USER}/disable": ("PATCH /users/{user_id}",),
    f"POST {_USER}/disable": ("PATCH /users/{user_id}",),
    f"POST {_USER}/vouch": ("POST /users/{user_id}/vouch",),
    f"GET {_USER}/sign-out": ("PATCH /users/{user_id}",),
    f"POST {_USER}/sign-out": ("PATCH /users/{user_id}",),
    f"POST {_USER}/unlock": ("DELETE /credentials/{user_id}/lock",),
    f"GET {_USER}/forget-factors": ("DELETE /credentials/{user_id}/factors",),
    f"POST {_USER}/forget-factors": ("DELETE /credentials/{user_id}/factors",),
    f"POST {_USER}/invite": ("POST /invitations",),
    f"POST {_USER}/merge": ("POST /users/{user_id}/merge",),
    f"GET {_USER}/evidence": ("GET /revocations/evidence",),
    f"GET {_USER}/delete": ("DELETE /users/{user_id}",),
    f"POST {_USER}/delete": ("DELETE /users/{user_id}",),
    f"POST {_USER}/sessions/{{sid}}/end": ("DELETE /sessions/{sid}",),
    f"POST {_USER}/grants/{{grant_id}}/revoke": ("DELETE /grants/{grant_id}",),
    f"GET {_USER}/identities/{{identity_id}}": (
        "GET /identities/{identity_id}/claims",
        "POST /identities/preview",
    ),
    f"POST {_USER}/identities/{{identity_id}}/unlink": ("DELETE /identities/{identity_id}",),
    f"POST {_USER}/api-keys/{{key_id}}/revoke": ("DELETE /api-keys/{key_id}",),
    "GET /admin/groups": ("GET /groups",),
    "GET /admin/groups/new": ("POST /groups",),
    "POST /admin/groups": ("POST /groups",),
    f"GET {_GROUP}": ("GET /groups/{group_id}", "GET /groups/{group_id}/members", "GET /roles"),
    f"GET {_GROUP}/edit": ("PATCH /groups/{group_id}",),
    f"POST {_GROUP}": ("PATCH /groups/{group_id}",),
    f"POST {_GROUP}/members": ("POST /groups/{group_id}/members",),
    f"POST {_GROUP}/members/{{user_id}}/remove": ("POST /groups/{group_id}/members",),
    f"GET {_GROUP}/delete": ("DELETE /groups/{group_id}", "GET /assignments"),
    f"POST {_GROUP}/delete": ("DELETE /groups/{group_id}",),
    "GET /admin/organizations": ("GET /organizations",),
    "GET /admin/organizations/new": ("POST /organizations",),
    "POST /admin/organizations": ("POST /organizations",),
    f"GET {_ORGANIZATION}": ("GET /organizations/{organization_id}", f"GET {_DOMAIN}", "GET /groups"),
    f"POST {_ORGANIZATION}": ("PATCH /organizations/{organization_id}",),
    f"POST {_ORGANIZATION}/domains": (f"POST {_DOMAIN}",),
    f"POST {_ORGANIZATION}/domains/{{domain}}/verify": (f"POST {_DOMAIN}/{{domain}}/verify",),
    f"GET {_ORGANIZATION}/domains/{{domain}}/remove": (f"GET {_DOMAIN}", f"DELETE {_DOMAIN}/{{domain}}"),
    f"POST {_ORGANIZATION}/domains/{{domain}}/remove": (f"DELETE {_DOMAIN}/{{domain}}",),
    f"GET {_ORGANIZATION}/delete": ("DELETE /organizations/{organization_id}",),
    f"POST {_ORGANIZATION}/delete": ("DELETE /organizations/{organization_id}",),
    "GET /admin/roles": ("GET /roles",),
    "GET /admin/roles/new": ("POST /roles",),
    "POST /admin/roles": ("POST /roles",),
    "GET /admin/roles/{role_id}": ("GET /roles/{role_id}", "GET /groups"),
    "GET /admin/roles/{role_id}/edit": ("PATCH /roles/{role_id}",),
    "POST /admin/roles/{role_id}": ("PATCH /roles/{role_id}",),
    "POST /admin/roles/{role_id}/assignments": ("POST /assignments",),
    "POST /admin/roles/{role_id}/assignments/{assignment_id}/take": ("DELETE /assignments/{assignment_id}",),
    "GET /admin/roles/{role_id}/delete": ("DELETE /roles/{role_id}",),
    "POST /admin/roles/{role_id}/delete": ("DELETE /roles/{role_id}",),
    "GET /admin/rules": ("GET /rules",),
    "GET /admin/rules/new": ("POST /rules",),
    "POST /admin/rules": ("POST /rules",),
    "POST /admin/rules/dry-run": ("POST /decisions/dry-run",),
    "GET /admin/rules/test": ("POST /rules/test",),
    "POST /admin/rules/test": ("POST /rules/test",),
    "GET /admin/rules/{rule_id}": ("GET /rules/{rule_id}",),
    "POST /admin/rules/{rule_id}": ("PUT /rules/{rule_id}",),
    "POST /admin/rules/{rule_id}/dry-run": ("POST /decisions/dry-run",),
    "GET /admin/rules/{rule_id}/delete": ("DELETE /rules/{rule_id}",),
    "POST /admin/rules/{rule_id}/delete": ("DELETE /rules/{rule_id}",),
    "GET /admin/decisions": ("GET /decisions",),
    "GET /admin/decisions/{decision_id}": ("GET /decisions/{decision_id}",),
    "GET /admin/revocations": ("GET /revocations",),
    "GET /admin/revocations/new": ("POST /revocations",),
    "POST /admin/revocations": ("POST /revocations",),
    f"GET {_REVOCATION}": ("GET /revocations/{entry_id}",),
    f"GET {_REVOCATION}/receipts": ("GET /revocations/{entry_id}",),
    f"GET {_REVOCATION}/evidence": ("GET /revocations/{entry_id}/evidence",),
    "GET /admin/keys": ("GET /keys", "GET /verifiers"),
    "POST /admin/keys/rotate": ("POST /keys/rotate",),
    "GET /admin/keys/{kid}/revoke": ("GET /keys/{kid}", "POST /keys/{kid}/revoke"),
    "POST /admin/keys/{kid}/revoke": ("POST /keys/{kid}/revoke",),
    "GET /admin/scim": ("GET /api-keys", "GET /scim-tokens"),
}


def _all() -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
    found = {_pair(page): tuple(_pair(call, _API) for call in calls) for page, calls in _PAGES.items()}
    for kind in KINDS:
        found |= {page: tuple(_pair(call) for call in calls) for page, calls in kind.calls()}
    return found


def _pair(text: str, prefix: str = "") -> tuple[str, str]:
    method, _, path = text.partition(" ")
    return method, f"{prefix}{path}"


# (method, path of a page) → (method, path of the API), each path a template.
CALLS: Final[Mapping[tuple[str, str], tuple[tuple[str, str], ...]]] = _all()


def roles_of(user: UserExport) -> frozenset[str]:
    """The roles that count here: those that hold everywhere, and that of whoever administers an organization."""
    return frozenset(user.roles) | ({ORGANIZATION_ADMINISTRATOR} if administered(user) else frozenset())


def client_page(client_id: str) -> str:
    """Where a client is shown: one whose id is the address of a document, in its row among the others that are."""
    if client_id.startswith("https://"):
        return f"/admin/client-documents?client_id={quote(client_id, safe='')}"
    return f"/admin/applications/{quote(client_id, safe='')}"


def may_enter(roles: Collection[str], method: str, path: str) -> bool:
    """Whether somebody with these roles may ask for a page, or send a form there. path: a template of the table.

    Raises KeyError for a page that the table does not know.
    """
    return all(opens(roles, *call) for call in CALLS[method, path])


def may_follow(roles: Collection[str], method: str, address: str) -> bool:
    """The same for an address as it stands in a link or a form; nobody may for one that is no page of the console."""
    path = address.partition("?")[0].partition("#")[0]
    template = next((template for pattern, template in _patterns(method) if pattern.fullmatch(path)), None)
    return template is not None and may_enter(roles, method, template)


@cache
def _patterns(method: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Paths with the fewest parameters first: `new` is not the id of anything."""
    paths = sorted((path for asked, path in CALLS if asked == method), key=lambda path: path.count("{"))
    return tuple((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path) for path in paths)
