"""Nothing is made that belongs to an organization which is deleted at the same moment: one of the two waits."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pytest
from sqlalchemy import text

from watchword_database import Database, Session, transaction
from watchword_directory import groups, organizations, roles, scim_tokens, users
from watchword_directory.group_documents import NewGroup
from watchword_directory.mapping import Mapped
from watchword_directory.models import Organization
from watchword_directory.organization_documents import NewOrganization
from watchword_directory.organization_table import UnknownOrganization, get_organization
from watchword_directory.organizations import NotEmpty
from watchword_directory.profiles import NewUser, UserChanges
from watchword_directory.provisioning import provision_user
from watchword_directory.ranks import EVERYTHING, Rank, Reach
from watchword_directory.role_documents import NewAssignment
from watchword_directory.synchronizing import organization_of, synchronize
from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_runtime.feed import Feed
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

_LEFT: Final = text("""
SELECT (SELECT count(*) FROM directory.users WHERE organization_id = :id)
     + (SELECT count(*) FROM directory.groups WHERE organization_id = :id AND deleted_at IS NULL)
     + (SELECT count(*) FROM directory.assignments WHERE organization_id = :id)
     + (SELECT count(*) FROM directory.scim_tokens WHERE organization_id = :id AND revoked_at IS NULL)
""")


@dataclass(frozen=True)
class Scene:
    """An empty organization. user_id: somebody of no organization.  role: a name that says nothing."""

    database: Database
    feed: Feed
    organization: Organization
    user_id: str
    role: str

    async def left(self) -> int:
        """How much belongs to it."""
        async with transaction(self.database) as session:
            return int((await (await session.connection()).execute(_LEFT, {"id": self.organization.id})).scalar_one())

    @property
    def provider(self) -> ProviderExport:
        """One that belongs to it."""
        return ProviderExport(
            id="Corp", preset="oidc", kind="oidc", display_name="Corp", organization=self.organization.id
        )


Make = Callable[[Session, Scene], Awaitable[object]]


async def person(session: Session, scene: Scene) -> None:
    new = NewUser(username=f"p-{secrets.token_hex(5)}", organization=scene.organization.short_name)
    await users.create_user(session, new, password_hash=None, by=EVERYTHING, feed=scene.feed, now=utc_now())


async def person_pushed(session: Session, scene: Scene) -> None:
    own = Reach(Rank.ORGANIZATION, frozenset({scene.organization.id}))
    new = NewUser(username=f"p-{secrets.token_hex(5)}")
    await users.create_user(session, new, password_hash=None, vouches=False, by=own, feed=scene.feed, now=utc_now())


async def person_moved(session: Session, scene: Scene) -> None:
    changes = UserChanges(organization=scene.organization.id)
    await users.change_user(
        session, scene.user_id, changes, password_hash=None, by=EVERYTHING, feed=scene.feed, now=utc_now()
    )


async def person_arriving(session: Session, scene: Scene) -> None:
    found = await organization_of(session, scene.provider)
    identity = VerifiedIdentity(
        provider_id="Corp", issuer="https://corp.example", subject=secrets.token_hex(8), auth_time=utc_now()
    )
    organization_id = found.id if found is not None else None
    await provision_user(session, identity, organization_id=organization_id, now=utc_now())


async def group(session: Session, scene: Scene) -> None:
    new = NewGroup(name="ops", organization=scene.organization.id)
    await groups.create_group(session, new, by=EVERYTHING, now=utc_now())


async def group_named(session: Session, scene: Scene) -> None:
    await groups.ensure_groups(session, [f"{scene.organization.short_name}/ops"], now=utc_now())


async def role_within(session: Session, scene: Scene) -> None:
    given = NewAssignment(role=scene.role, user=scene.user_id, organization=scene.organization.short_name)
    await roles.give_role(session, given, by=EVERYTHING, now=utc_now())


async def role_mapped(session: Session, scene: Scene) -> None:
    user = await users.store.get_user_for_change(session, scene.user_id)
    await synchronize(session, user, scene.provider, Mapped(roles=(scene.role,)), now=utc_now())


async def scim_token(session: Session, scene: Scene) -> None:
    home = await get_organization(session, scene.organization.id)
    scim_tokens.create_token(
        session, name="HR", organization_id=home.id, provider_id=None, created_by=None, rev=0, expires_at=None,
        now=utc_now(),
    )  # fmt: skip


MADE: Final[dict[str, Make]] = {
    each.__name__: each
    for each in (
        person, person_pushed, person_moved, person_arriving, group, group_named, role_within, role_mapped, scim_token,
    )
}  # fmt: skip


@pytest.fixture
async def scene(platform: Platform, api: Api) -> AsyncIterator[Scene]:
    """An organization of the test's own."""
    assert platform.process is not None
    database = platform.database.open(Service.DIRECTORY, pool_size=3)
    name = f"acme-{secrets.token_hex(4)}"
    user = await api.create("/users", username=f"user-{name}")
    role = await api.create("/roles", name=f"role-{name}")
    async with transaction(database) as session:
        new = NewOrganization(short_name=name, name="Acme")
        made = await organizations.create_organization(session, new, now=utc_now())
    yield Scene(database, platform.process.shared.feed, made, str(user["id"]), str(role["name"]))
    await database.dispose()


async def delete(scene: Scene) -> None:
    async with transaction(scene.database) as session:
        await organizations.delete_organization(session, scene.organization.id, now=utc_now())


async def begun(work: Awaitable[None]) -> asyncio.Task[None]:
    """The work, over or waiting for somebody's lock."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=0.3)
    return task


@pytest.mark.parametrize("made", MADE)
async def test_what_is_being_made_is_found_by_whoever_deletes(scene: Scene, made: str) -> None:
    async with transaction(scene.database) as session:
        await MADE[made](session, scene)
        deleting = await begun(delete(scene))
    if made == "scim_token":  # which does not keep anybody from deleting: it ends with the organization
        await deleting
        assert await scene.left() == 0
        return
    with pytest.raises(NotEmpty):
        await deleting
    assert await scene.left() == 1


@pytest.mark.parametrize("made", MADE)
async def test_what_comes_too_late_finds_no_organization(scene: Scene, made: str) -> None:
    async def make() -> None:
        async with transaction(scene.database) as session:
            await MADE[made](session, scene)

    async with transaction(scene.database) as session:
        await organizations.delete_organization(session, scene.organization.id, now=utc_now())
        making = await begun(make())
    with suppress(UnknownOrganization):
        await making
    assert await scene.left() == 0
