"""One SCIM request: the protocol of scim2-server over our storage, with members of groups changed one by one."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any, Final, cast

import orjson
import structlog
from scim2_models import (
    BulkOperation,
    Error,
    InvalidFilterException,
    InvalidPathException,
    PatchOp,
    PatchOperation,
    Resource,
    ResourceType,
    SCIMException,
)
from scim2_server.bulk import BulkPlan, BulkStep
from scim2_server.conditions import Conditions
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation
from scim2_server.service import ScimService
from sqlalchemy.exc import SQLAlchemyError

from watchword_directory.edge import Parts
from watchword_directory.ranks import Reach
from watchword_directory.scim.filters import MAX_FILTER
from watchword_directory.scim.resources import described
from watchword_directory.scim.storage import Storage
from watchword_runtime.receipts import Ending

log = structlog.get_logger()

# Reading filters and paths takes up to 50 µs a letter, in which nobody else is answered.
_MOST_LETTERS: Final = 16 * MAX_FILTER
_REFUSED: Final[Mapping[str, type[SCIMException]]] = {"filter": InvalidFilterException, "path": InvalidPathException}
_ONE_MEMBER: Final = re.compile(r'members\[value eq "([^"\\]{1,64})"\]', re.IGNORECASE)


class ScimServer:
    """The server of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._service = ScimService(described(), secret=parts.settings.keyring.key("cursor"))

    async def answer(self, request: ScimRequest, *, by: Reach, ending: Ending) -> ScimResponse:
        """The answer, an error in SCIM's form included, when what ended has. Other exceptions are the caller's."""
        storage = Storage(self._parts, self._service.provider, by=by)
        try:
            _check_lengths(request)
            response = await _Handler(self._service, storage).handle(request)
        except SCIMException as error:
            log.info("scim.refused", status=error.status, kind=type(error).__name__)
            return self._service.error_response(error)
        await ending.finish(storage.ended)
        response.headers |= ending.headers
        return response


class _Handler(AsyncScimHandler):
    """Members of groups are changed and shown without a model for each; people of a bulk request are made together.

    What takes long for the processor happens in a thread or in pieces: others are answered in between.
    """

    storage: Storage

    async def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: "PatchOp[Any]", conditions: Conditions
    ) -> Resource[Any]:
        if resource_type.name == "Group":
            changes = [_members(each) for each in patch_op.operations or []]
            if all(change is not None for change in changes):
                wanted: dict[str, bool] = {}  # of several changes of one member the last one counts
                for is_member, ids in filter(None, changes):
                    wanted |= dict.fromkeys(ids, is_member)
                return await self.storage.change_members(
                    resource_id,
                    add=[each for each, is_member in wanted.items() if is_member],
                    remove=[each for each, is_member in wanted.items() if not is_member],
                    conditions=conditions,
                )
        return await super().patch_resource(resource_type, resource_id, patch_op, conditions)

    async def bulk(self, request: ScimRequest) -> ScimResponse:
        """As the library does it, but that people who are made one after another are made by one statement.

        One whom that leaves out is looked at alone. Where a client counts errors, everybody is.
        """
        with self.service.provider:
            self.service.route(request, Operation.bulk)
            plan = await asyncio.to_thread(self.service.read_bulk, request.body, request.header("Content-Type"))
            runs = _runs(plan) if plan.fail_on_errors is None else ([step] for step in plan)
            for steps in runs:
                if len(steps) > 1:
                    await self._create_together(request, plan, steps)
                for step in steps:
                    if step.index not in plan.results:
                        plan.record(step, *await self.run_bulk_step(request, plan, step))
            return await asyncio.to_thread(self.service.bulk_response, plan)

    async def _create_together(self, request: ScimRequest, plan: BulkPlan, steps: list[BulkStep]) -> None:
        """What could be made at once is recorded; of the rest, and after any failure of all, nothing is."""
        resolved: list[tuple[BulkStep, BulkOperation[Resource[Any]]]] = []  # each with its data
        for step in steps:
            with suppress(SCIMException):  # its own turn tells what is wrong with it
                resolved.append((step, plan.resolve(step)))
            await asyncio.sleep(0)
        try:
            async with self.storage.operation():
                made = await self.storage.create_users([cast(Resource[Any], each.data) for _, each in resolved])
        except (SCIMException, SQLAlchemyError) as error:
            log.info("scim.not_together", kind=type(error).__name__, count=len(resolved))
            return
        for (step, operation), resource in zip(resolved, made, strict=True):
            if resource is not None:
                outcome = self.service.bulk_outcome(request.base_url, operation)
                done = self.service.bulk_success(request.base_url, operation, outcome, resource)
                plan.record(step, done, resource)
                await asyncio.sleep(0)


def _check_lengths(request: ScimRequest) -> None:
    """No filter or path is longer than one may be, nor all of them together. Raises SCIMException."""
    left: list[object] = [request.query]
    with suppress(orjson.JSONDecodeError):  # whose turn tells what is wrong with it
        left.append(orjson.loads(request.body or b"null"))
    letters = 0
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
            for name, text in value.items():
                refused = _REFUSED.get(name.lower())
                if refused is not None and isinstance(text, str):
                    letters += len(text)
                    if len(text) > MAX_FILTER or letters > _MOST_LETTERS:
                        raise refused(detail=f"a filter or path has at most {MAX_FILTER} characters, 16 times that all")


def _runs(plan: BulkPlan) -> Iterator[list[BulkStep]]:
    """The steps in their order; those that make people, and come one after another, together."""
    for is_new_person, steps in groupby(plan, lambda step: _makes_person(plan.operation(step))):
        run = list(steps)
        yield from [run] if is_new_person else ([step] for step in run)


def _makes_person(operation: "BulkOperation[Resource[Any]]") -> bool:
    path = (operation.path or "").strip("/").lower()
    is_valid = operation.data is not None and not isinstance(operation.response, Error)
    return operation.method is BulkOperation.Method.post and path == "users" and is_valid


def _members(operation: "PatchOperation[Any]") -> tuple[bool, list[str]] | None:
    """Whether people come into the group, and who; None for an operation that says something else."""
    path, value = str(operation.path or ""), operation.value
    if operation.op is PatchOperation.Op.remove and value is None and (one := _ONE_MEMBER.fullmatch(path)):
        return False, [one[1]]
    if path.lower() != "members" or operation.op is PatchOperation.Op.replace_ or not isinstance(value, list):
        return None
    ids = [str(each["value"]) for each in value if isinstance(each, dict) and isinstance(each.get("value"), str)]
    if len(ids) != len(value) or not all(0 < len(each) <= 64 for each in ids):
        return None
    return operation.op is PatchOperation.Op.add, ids
