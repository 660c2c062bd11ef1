"""Where SCIM reads and writes: users and groups, changed as `/api/v1` changes them, with the same events."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError
from scim2_models import (
    ForbiddenException,
    InvalidValueException,
    NotFoundException,
    NotImplementedException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    ScimFilter,
    ScimProvider,
    SearchRequest,
    UniquenessException,
)
from scim2_server.conditions import Conditions
from scim2_server.storage import AsyncScimStorage, SearchPage
from sqlalchemy import ColumnElement, func, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import col, select

from watchword_database import Session, transaction
from watchword_directory import group_table, groups, organization_table, store, users
from watchword_directory.claims import lock_users
from watchword_directory.delegation import BeyondReach, require_reach
from watchword_directory.edge import Parts
from watchword_directory.group_documents import GroupChanges, NewGroup
from watchword_directory.groups import (
    SEPARATOR,
    Circle,
    GroupExists,
    NamedAsAnothers,
    NoSuchUsers,
    organization_of_name,
)
from watchword_directory.models import Group, Membership, User
from watchword_directory.names import candidates
from watchword_directory.organization_table import UnknownOrganization
from watchword_directory.profiles import UserChanges, VouchedChanges
from watchword_directory.ranks import AboveOwnRank, Reach
from watchword_directory.scim.filters import condition
from watchword_directory.scim.people import (
    CLAIMS,
    Person,
    new_user_of,
    of_an_organization,
    payload_of,
    person_of,
    shown_email,
    stored,
)
from watchword_directory.scim.resources import MAX_RESULTS
from watchword_directory.scim.sorting import Order
from watchword_directory.texts import Text
from watchword_directory.users import LastOwner, NameTaken, rise
from watchword_events.contracts import UserUpdated
from watchword_policy.identifiers import InvalidUsername

_TRIES: Final = 20
_NAME: Final = TypeAdapter[str](Text)
# SQLSTATE classes of what PostgreSQL neither keeps nor compares: U+0000, a time before all times, a key of kilobytes.
_UNFIT: Final = ("22", "54")
# A plan for whatever value would take a rare address for a frequent one, and walk through everybody to find it.
_PLAN_ANEW: Final = text("SET LOCAL plan_cache_mode = force_custom_plan")


class Storage(AsyncScimStorage):
    """Made for one request. by: the caller's reach: what lies beyond is as if it were not there.

    ended: the ledger entries of every operation, to be settled after the last one.
    """

    supports_cursors = True

    def __init__(self, parts: Parts, provider: ScimProvider, *, by: Reach) -> None:
        self._parts = parts
        self._provider = provider
        self._by = by
        self._opened: Session | None = None
        self.ended: list[int] = []
        self._entries: list[int] = []
        self._due: list[int] = []

    @property
    def _own(self) -> str | None:
        """The one organization that is reached; None for everything."""
        return None if self._by.organizations is None else next(iter(self._by.organizations))

    @property
    def _session(self) -> Session:
        assert self._opened is not None  # noqa: S101 - the protocol reads and writes within an operation only
        return self._opened

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """One transaction; whatever a rule refuses is answered in SCIM's words."""
        self._entries, self._due = [], []
        try:
            async with transaction(self._parts.database) as session:
                self._opened = session
                yield
        except (store.UnknownUser, group_table.UnknownGroup, UnknownOrganization) as unknown:
            raise NotFoundException(detail="There is no such resource.") from unknown
        except (NameTaken, GroupExists, IntegrityError) as taken:
            raise UniquenessException(detail="Another resource has this name or address.") from taken
        except (NoSuchUsers, InvalidUsername, NamedAsAnothers) as invalid:
            raise InvalidValueException(detail="It names nobody here, or a name that is none.") from invalid
        except Circle as circle:
            raise InvalidValueException(detail="A group would lie in itself.") from circle
        except DBAPIError as error:
            if not str(getattr(error.orig, "sqlstate", "")).startswith(_UNFIT):
                raise
            raise InvalidValueException(detail="A value is too long, or none that can be kept or compared.") from error
        except (AboveOwnRank, LastOwner) as above:
            raise ForbiddenException(detail="It concerns somebody who stands above the caller.") from above
        except BeyondReach as beyond:
            raise ForbiddenException(detail=f"It would count beyond the organization: {beyond}.") from beyond
        finally:
            self._opened = None
        self.ended += self._entries
        await self._parts.claims.settle(self._due)

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """One user or group. Raises NotFoundException."""
        if resource_type.name == "User":
            user = await store.find_user(self._session, resource_id, by=self._by)
            if user is None:
                raise NotFoundException(detail="There is no such user.")
            return (await self._shown_users([user]))[0]
        group = await group_table.find_group(self._session, resource_id, by=self._by)
        if group is None:
            raise NotFoundException(detail="There is no such group.")
        return (await self._shown_groups([group], members=_wants_members(response_parameters)))[0]

    async def search(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], *, position: Any = None
    ) -> SearchPage:
        """A page in the order of ids, and how many there are; by cursor that is not counted. Spec: RFC 9865 2."""
        if len(resource_types) != 1:
            raise NotImplementedException(detail="Search at /Users or at /Groups.")
        name = str(resource_types[0].name)
        table: Any = User if name == "User" else Group
        model: Any = self._provider.model_for(resource_types[0])
        where: list[ColumnElement[bool]] = [col(table.deleted_at).is_(None)]
        if self._own is not None:
            where.append(col(table.organization_id) == self._own)
        if search_request.filter is not None:
            where.append(condition(ScimFilter[model](str(search_request.filter)), name, self._by))
            await (await self._session.connection()).execute(_PLAN_ANEW)
        most = MAX_RESULTS if search_request.count is None else min(search_request.count, MAX_RESULTS)
        order = Order(search_request, model, name, self._by)
        page = select(table, order.value).where(*where).order_by(*order.clauses).limit(most + 1)
        if search_request.cursor is not None:
            if position is not None:
                page = page.where(order.behind(position))
            rows = (await self._session.exec(page)).all()
            following = order.position(rows[most - 1]) if len(rows) > most > 0 else None
            found = [row[0] for row in rows[:most]]
            return SearchPage(None, await self._shown(found, search_request), next=following)
        before = search_request.start_index_0 or 0
        rows = (await self._session.exec(page.offset(before))).all()
        total = before + len(rows)
        if len(rows) > most or (before and not rows):  # only then there are more than were seen
            total = (await self._session.exec(select(func.count()).select_from(table).where(*where))).one()
        return SearchPage(total, await self._shown([row[0] for row in rows[:most]], search_request))

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """The user or group exists. Raises UniquenessException, InvalidValueException."""
        if resource_type.name == "User":
            return await self._create_user(person_of(resource))
        return await self._create_group(resource)

    async def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """The user or group is as described. Raises NotFoundException, PreconditionFailedException, and as `create`."""
        resource_id = str(resource.id)
        if resource_type.name == "User":
            return await self._update_user(resource_id, person_of(resource), expected_version)
        return await self._update_group(resource_id, resource, expected_version)

    async def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """The user or group is gone; the tokens of a user are refused everywhere."""
        now = self._parts.now()
        if resource_type.name == "User":
            user = await store.get_user_for_change(self._session, resource_id)
            require_reach(user, self._by)
            _check_version(f'W/"{user.version}"', expected_version)
            self._entries += await users.delete_user(
                self._session, resource_id, by=self._by, feed=self._parts.feed, now=now
            )
            return
        group = await group_table.get_group_for_change(self._session, resource_id, by=self._by)
        _check_version(await self._group_version(group), expected_version)
        self._due += await groups.delete_group(self._session, resource_id, by=self._by, now=now)

    async def change_members(
        self, group_id: str, *, add: Sequence[str], remove: Sequence[str], conditions: Conditions
    ) -> Resource[Any]:
        """They are in the group, or are not any more. Returns the group without its members.

        Raises PreconditionFailedException, and as `update`.
        """
        if conditions.if_match is not None or conditions.if_none_match is not None:
            await lock_users(self._session, [*add, *remove])  # before groups, as everywhere
            group = await group_table.get_group_for_change(self._session, group_id, by=self._by)
            conditions.check(await self._group_version(group), "PATCH")
        await self._change_members(group_id, add=add, remove=remove)
        group = await group_table.get_group_for_change(self._session, group_id)
        return (await self._shown_groups([group], members=False))[0]

    async def create_users(self, resources: Sequence[Resource[Any]]) -> list[Resource[Any] | None]:
        """Those of the users who exist now, as they are shown; None for each who has to be looked at alone.

        That is one whose name or address somebody has, who is to be inactive, or who is called otherwise here; of an
        organization everybody.
        """
        if self._own is not None:
            return [None] * len(resources)
        now = self._parts.now()
        wanted: list[User | None] = [self._plain(resource, now) for resource in resources]
        made = await users.create_users(self._session, [user for user in wanted if user is not None], now=now)
        return [None if user is None or user.id not in made else self._show(user, {}) for user in wanted]

    # users -----------------------------------------------------------------------------------------------------------

    async def _create_user(self, person: Person) -> Resource[Any]:
        now, vouches = self._parts.now(), await self._vouches(person.email)
        if self._own is not None:
            person = of_an_organization(person)
        names = [person.username] if person.username else []
        if not names or self._own is not None:  # of an organization: a name that somebody elsewhere has stops nobody
            names += self._names_for(person)
        for name in names:
            try:
                user, entries = await users.create_user(
                    self._session,
                    new_user_of(person, name),
                    password_hash=None,
                    scim=stored(person, name),
                    external_id=person.external_id,
                    vouches=vouches,
                    by=self._by,
                    feed=self._parts.feed,
                    now=now,
                )
            except NameTaken as taken:
                if taken.field != "username" or name == names[-1]:
                    raise
            else:
                self._entries += entries
                return self._show(user, {})
        raise UniquenessException(detail="No free user name was found.")

    def _plain(self, resource: Resource[Any], now: datetime) -> User | None:
        """The user that a statement can make together with others, if it is one."""
        try:
            person = person_of(resource)
        except InvalidValueException:
            return None
        if person.username is None or person.active is False:
            return None
        try:
            new = new_user_of(person, person.username)
        except ValidationError:
            return None
        return users.user_of(new, scim=stored(person, new.username), external_id=person.external_id, now=now)

    def _names_for(self, person: Person) -> list[str]:
        """Names to try for somebody whose name elsewhere cannot be one here."""
        names = candidates(person.user_name, person.email, person.claims.get("name"))
        return [name for _, name in zip(range(_TRIES), names, strict=False)]

    async def _update_user(self, user_id: str, person: Person, expected_version: str | None) -> Resource[Any]:
        now, session = self._parts.now(), self._session
        user = await store.get_user_for_change(session, user_id)
        require_reach(user, self._by)
        _check_version(f'W/"{user.version}"', expected_version)
        if self._own is not None:  # whose people keep their names here
            person = replace(of_an_organization(person), username=user.username)
        version, username = user.version, person.username or user.username
        told = CLAIMS if self._own is None else [name for name in CLAIMS if name != "phone_number"]
        given: dict[str, Any] = {name: person.claims.get(name) for name in told}
        given["username"] = username
        if person.active is not None:
            given["active"] = person.active
        changes = UserChanges(**given)
        if person.email != shown_email(user):  # an address that is only repeated is verified by nobody
            is_vouched_for = await self._vouches(person.email)
            changes = VouchedChanges(**given, email=person.email, email_verified=is_vouched_for)
        user, entries = await users.change_user(
            session,
            user_id,
            changes,
            password_hash=None,
            by=self._by,
            feed=self._parts.feed,
            now=now,
        )
        self._entries += entries
        said = stored(person, username, active=user.active)
        if (user.scim, user.external_id) != (said, person.external_id):
            user.scim, user.external_id = said, person.external_id
            if user.version == version:
                rise(user, claims=False, now=now)
                session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
            await session.flush()
        return (await self._shown_users([user]))[0]

    async def _vouches(self, email: str | None) -> bool:
        """Whether the address counts as verified because the client says it."""
        return (
            self._own is None or email is None or await organization_table.has_proved(self._session, self._own, email)
        )

    async def _shown_users(self, found: Sequence[User]) -> list[Resource[Any]]:
        ids = [user.id for user in found]
        statement = (
            select(col(Membership.user_id), Group)
            .join(Group, col(Group.id) == col(Membership.group_id))
            .where(col(Membership.user_id).in_(ids), col(Group.deleted_at).is_(None))
            .order_by(col(Group.full_name))
        )
        if self._own is not None:
            statement = statement.where(col(Group.organization_id) == self._own)
        belonging: dict[str, dict[str, str]] = {user_id: {} for user_id in ids}
        for user_id, group in (await self._session.exec(statement)).all():
            belonging[user_id][group.id] = self._called(group)
        return [self._show(user, belonging[user.id]) for user in found]

    def _show(self, user: User, groups_of_user: Mapping[str, str]) -> Resource[Any]:
        model: Any = self._provider.model_for("User")
        shown: Resource[Any] = model.model_validate(payload_of(user, groups_of_user))
        return shown

    # groups ----------------------------------------------------------------------------------------------------------

    async def _create_group(self, resource: Any) -> Resource[Any]:
        now, session = self._parts.now(), self._session
        organization, name = await self._place(resource.display_name)
        group = await groups.create_group(session, NewGroup(name=name, organization=organization), by=self._by, now=now)
        if resource.external_id is not None:
            group = await group_table.get_group_for_change(session, group.id)
            group.external_id = resource.external_id
            await session.flush()
        members = _member_ids(resource)
        if members:
            await self._change_members(group.id, add=members, remove=[])
        return (await self._shown_groups([group]))[0]

    async def _update_group(self, group_id: str, resource: Any, expected_version: str | None) -> Resource[Any]:
        now, session = self._parts.now(), self._session
        known = await group_table.find_group(session, group_id, by=self._by)
        if known is None:
            raise NotFoundException(detail="There is no such group.")
        _check_version(await self._group_version(known), expected_version)
        wanted = set(_member_ids(resource))
        before = {*await self._members_of(group_id), *await self._children_of(group_id)}
        add, remove = sorted(wanted - before), sorted(before - wanted)
        if add or remove:  # people are locked before groups, as everywhere
            await self._change_members(group_id, add=add, remove=remove)
        group = await group_table.get_group_for_change(session, group_id)
        if resource.display_name != self._called(group):
            _, name = await self._place(resource.display_name)
            prefix = self._called(group).removesuffix(group.name)
            if not resource.display_name.startswith(prefix) or f"{prefix}{name}" != resource.display_name:
                raise InvalidValueException(detail="A group stays in its organization.")
            group, due = await groups.change_group(session, group_id, GroupChanges(name=name), by=self._by, now=now)
            self._due += due
        if resource.external_id != group.external_id:
            group.external_id = resource.external_id
            group.version, group.updated_at = group.version + 1, now
            await session.flush()
        return (await self._shown_groups([group]))[0]

    async def _change_members(self, group_id: str, *, add: Sequence[str], remove: Sequence[str]) -> None:
        """Members are people and groups; an id says by itself which it is."""
        session, now = self._session, self._parts.now()
        nested = await group_table.standing_groups(session, [*add, *remove], by=self._by)
        new_people = [each for each in add if each not in nested]
        old_people = [each for each in remove if each not in nested]
        await groups.change_members(session, group_id, add=new_people, remove=old_people, by=self._by, now=now)
        if nested:
            self._due += await groups.change_children(
                session,
                group_id,
                add=[each for each in add if each in nested],
                remove=[each for each in remove if each in nested],
                by=self._by,
                now=now,
            )

    async def _place(self, full_name: str) -> tuple[str | None, str]:
        """The organization that a full name begins with, and the rest of it. Raises InvalidValueException.

        For whoever reaches one organization, every name is one of its own.
        """
        organization, name = self._own, full_name
        if self._own is None and (found := await organization_of_name(self._session, full_name)) is not None:
            organization, name = found.id, full_name.partition(SEPARATOR)[2]
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            detail = "A group's name has 1 to 256 characters, and no control characters."
            raise InvalidValueException(detail=detail) from error
        return organization, name

    async def _members_of(self, group_id: str) -> Sequence[str]:
        statement = select(col(Membership.user_id)).where(col(Membership.group_id) == group_id)
        if self._own is not None:
            home = col(User.organization_id) == self._own
            statement = statement.join(User, col(User.id) == col(Membership.user_id)).where(home)
        return (await self._session.exec(statement.order_by(col(Membership.user_id)))).all()

    async def _children_of(self, group_id: str) -> list[str]:
        """The ids of the groups that lie in it, sorted."""
        found = await group_table.child_ids_of(self._session, group_id)
        own = await group_table.standing_groups(self._session, found, by=self._by)
        return [each for each in found if each in own]

    def _called(self, group: Group) -> str:
        """What the group is called: among those of one organization by its name there."""
        return group.full_name if self._own is None else group.name

    async def _group_version(self, group: Group) -> str:
        return (await self._versions([group]))[group.id]

    async def _versions(self, found: Sequence[Group]) -> dict[str, str]:
        """The entity tag of each: of its own version, and of who is in it.

        Whoever comes in is the newest, whoever goes makes the number smaller: two sets of people have two tags. Groups
        in it are few: they are named.
        """
        ids = [group.id for group in found]
        statement = (
            select(col(Membership.group_id), func.count(), func.max(col(Membership.created_at)))
            .where(col(Membership.group_id).in_(ids))
            .group_by(col(Membership.group_id))
        )
        if self._own is not None:
            home = col(User.organization_id) == self._own
            statement = statement.join(User, col(User.id) == col(Membership.user_id)).where(home)
        inside = {row[0]: f"{row[1]}-{row[2].timestamp():.6f}" for row in (await self._session.exec(statement)).all()}
        for group_id, children in (await group_table.children_of(self._session, ids)).items():
            named = hashlib.sha256(" ".join(children).encode()).hexdigest()[:16]
            inside[group_id] = f"{inside.get(group_id, '0')}-{named}"
        return {group.id: f'W/"{group.version}-{inside.get(group.id, "0")}"' for group in found}

    async def _shown_groups(self, found: Sequence[Group], *, members: bool = True) -> list[Resource[Any]]:
        model: Any = self._provider.model_for("Group")
        versions = await self._versions(found)
        shown = []
        for group in found:
            payload: dict[str, Any] = {
                "id": group.id,
                "displayName": self._called(group),
                "externalId": group.external_id,
                "meta": {
                    "resourceType": "Group",
                    "created": group.created_at,
                    "lastModified": group.updated_at,
                    "version": versions[group.id],
                },
            }
            if members and (inside := await self.members_shown(group.id)):
                payload["members"] = inside
            shown.append(model.model_validate(payload))
        return shown

    async def members_shown(self, group_id: str) -> list[dict[str, str]]:
        """The people and groups in a group, as they are shown."""
        people, children = await self._members_of(group_id), await self._children_of(group_id)
        return [
            *({"value": each, "$ref": f"Users/{each}", "type": "User"} for each in people),
            *({"value": each, "$ref": f"Groups/{each}", "type": "Group"} for each in children),
        ]

    async def _shown(self, found: Sequence[User | Group], asked: SearchRequest[Any]) -> list[Resource[Any]]:
        if found and isinstance(found[0], User):
            return await self._shown_users(cast(Sequence[User], found))
        return await self._shown_groups(cast(Sequence[Group], found), members=_wants_members(asked))


def _member_ids(resource: Any) -> list[str]:
    """The ids of the people in the group. Raises InvalidValueException for one without."""
    ids = [member.value for member in resource.members or ()]
    if not all(ids):
        raise InvalidValueException(detail="Each member needs a value: the id of a user.")
    return list(dict.fromkeys(ids))


def _wants_members(asked: ResponseParameters[Any] | None) -> bool:
    """Whether the answer shows the members of groups."""
    if asked is None:
        return True
    left_out = {str(path).lower() for path in asked.excluded_attributes or ()}
    wanted = {str(path).lower().rpartition(":")[2].partition(".")[0] for path in asked.attributes or ()}
    return "members" not in left_out and (not wanted or "members" in wanted)


def _check_version(version: str, expected: str | None) -> None:
    if expected is not None and version != expected:
        raise PreconditionFailedException(detail="The resource has been changed since.")
