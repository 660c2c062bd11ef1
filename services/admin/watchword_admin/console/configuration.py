"""What is configured, as one file of the documents that `watchword apply` reads."""

import asyncio
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from pydantic import Field

from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.records import Thing
from watchword_admin.console.sessions import Visit
from watchword_events.names import Service
from watchword_runtime import declarations
from watchword_runtime.calls import Document
from watchword_web.errors import PageError

# What others refer to comes first.
_OWNERS: Final = (Service.DIRECTORY, Service.ADMIN)
_PEOPLE: Final = "User"  # whom a directory or a provider brings; `watchword export` writes them, too
_ROWS: Final = "200"
_MOST: Final = 5000  # documents


class _Reference(Document):
    target: str = Field(alias="$ref")


class _Kinds(Document):
    """What the JSON Schema of an owner's documents says of their kinds."""

    shapes: list[_Reference] = Field(alias="oneOf")

    @property
    def names(self) -> list[str]:
        """The kinds, each after those that it may name."""
        return [each.target.rpartition("/")[2] for each in self.shapes]


async def download(console: Console, _request: Request, visit: Visit) -> Response:
    """Everything that can be declared but people and their roles, as it stands.

    Secrets are not among it: they cannot be read.
    """
    found: list[Mapping[str, object]] = []
    for owner in _OWNERS:
        path = f"apply/{owner.value}"
        kinds = await console.calls.get(visit.token, f"{path}/schema", _Kinds)
        for kind in kinds.names:
            if kind != _PEOPLE:
                found += await _documents(console, visit, path, kind, most=_MOST - len(found))
    schema = f"{console.parts.settings.public_url}/api/v1/schema"
    return Response(
        await asyncio.to_thread(declarations.write, found, schema=schema),
        media_type="application/yaml",
        headers={"Content-Disposition": 'attachment; filename="watchword.yaml"', "Cache-Control": "no-store"},
    )


async def _documents(console: Console, visit: Visit, path: str, kind: str, *, most: int) -> list[Mapping[str, object]]:
    """All of a kind. Raises PageError when there are more than `most`."""
    found: list[Mapping[str, object]] = []
    after: dict[str, str] = {}
    while True:
        page = await console.calls.page(visit.token, path, Thing, kind=kind, limit=_ROWS, **after)
        # Of assignments, those of groups.
        found += [each.model_extra or {} for each in page.items if each.member("user") is None]
        if len(found) > most:
            raise PageError(
                "too_much", "That is too much for a page", "The command “watchword export” writes all of it.", 409
            )
        if page.next is None:
            return found
        after = {"cursor": page.next}


GET: Final[Mapping[str, Handler]] = {"/admin/configuration": download}
