"""SCIM at the console: where a directory pushes people to, and with which tokens and keys."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, cursor_of, following
from watchword_admin.console.sessions import Visit
from watchword_policy.scopes import SCIM_SCOPE
from watchword_runtime.calls import together

_ROWS: Final = "200"


async def show_scim(console: Console, request: Request, visit: Visit) -> Response:
    """The address to copy, and the tokens and keys that may push."""
    tokens, found = await together(
        console.calls.page(visit.token, "scim-tokens", seen.ScimToken, limit=_ROWS),
        console.calls.page(visit.token, "api-keys", seen.ApiKey, limit=_ROWS, **cursor_of(request)),
    )
    keys = [key for key in found.items if SCIM_SCOPE in key.scope]
    return console.render(
        request,
        visit,
        "scim.html",
        here="scim",
        tokens=tokens,
        keys=keys,
        scope=SCIM_SCOPE,
        base_url=f"{console.parts.settings.public_url}/scim/v2",
        names=await console.names(
            users=[key.user_id for key in keys],
            organizations=[each.organization for each in tokens.items],
            providers=[each.provider_id for each in tokens.items],
        ),
        following=following("/admin/scim", {}, found.next),
    )


GET: Final[Mapping[str, Handler]] = {"/admin/scim": show_scim}
