"""Composition root of the directory: the only place that constructs."""

from importlib.metadata import version
from typing import Final

from watchword_database import transaction
from watchword_directory import consumers, store, sweeper
from watchword_directory.claims import ClaimsWorker
from watchword_directory.declared import kinds
from watchword_directory.domains import Domains
from watchword_directory.edge import Parts
from watchword_directory.last_claims import PURPOSE as LAST_CLAIMS
from watchword_directory.last_claims import ClaimsKeeper
from watchword_directory.mapping import Mapper
from watchword_directory.models import ApiKeyCopy, BrandingCopy, ProviderCopy
from watchword_directory.profiles import export
from watchword_directory.routes import routers, scim
from watchword_directory.settings import DirectorySettings
from watchword_directory.standing import standing_of
from watchword_events.exports import ApiKeyExport, CredentialExport, ProviderExport, UserExport
from watchword_events.names import Service
from watchword_runtime.access import Access
from watchword_runtime.backbone import Backbone
from watchword_runtime.branding import follow_branding
from watchword_runtime.callers import Callers
from watchword_runtime.passwords import Passwords
from watchword_runtime.plans import Plans
from watchword_runtime.plans_api import MAX_BYTES, apply_path, plan_router
from watchword_runtime.receipts import Endings
from watchword_runtime.rounds import Sweeper
from watchword_runtime.seal import SecretSeal
from watchword_runtime.service import ServiceApp
from watchword_runtime.shared import Shared
from watchword_runtime.troubles import trouble_of
from watchword_web.api import Cursor
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.limits import Limiter
from watchword_web.pages import Pages

PATHS: Final[tuple[str, ...]] = (
    "/login/identity",
    "/api/v1/users",
    "/api/v1/identities",
    "/api/v1/groups",
    "/api/v1/organizations",
    "/api/v1/roles",
    "/api/v1/assignments",
    "/api/v1/attributes",
    "/api/v1/scim-tokens",
    "/api/v1/me/account",
    "/api/v1/me/email",
    "/api/v1/me/identities",
    "/scim/v2",
    apply_path(Service.DIRECTORY),
)


def build(settings: DirectorySettings, shared: Shared) -> ServiceApp:
    """The directory, built but not started."""
    backbone = Backbone(Service.DIRECTORY, settings, shared, pool_size=settings.pool_size)
    database, broker, pulls = backbone.database, backbone.broker, backbone.pulls
    providers = backbone.copy("provider", ProviderCopy, ProviderExport)
    api_keys = backbone.copy("api_key", ApiKeyCopy, ApiKeyExport)
    pages = Pages(["watchword_web"], settings, speaks=["watchword_directory"])
    branding = follow_branding(backbone, BrandingCopy, pages)
    sweeping = backbone.runs(Sweeper(lambda: sweeper.sweep(database, now=shared.now()), every_s=sweeper.EVERY_S))
    consumers.subscribe(broker, providers=providers, api_keys=api_keys, branding=branding, sweeper=sweeping)

    async def find_user(user_id: str) -> UserExport | None:
        async with transaction(database) as session:
            user = await store.find_user(session, user_id)
            return None if user is None else export(user, await standing_of(session, user_id)).data

    async def has_way_in(user_id: str) -> bool:
        page = await pulls.export(Service.AUTHZ, "credential", {"id": [user_id]})
        return any(CredentialExport.model_validate(each.data).is_way_in for each in page.items)

    access = Access(
        settings,
        feed=shared.feed,
        internal=pulls,
        find_user=find_user,
        find_api_key=api_keys.get,
        key_uses=backbone.key_uses,
        now=shared.now,
        broker=broker,
    )
    passwords = Passwords()
    backbone.closes(passwords.close)
    parts = Parts(
        settings=settings,
        database=database,
        feed=shared.feed,
        internal=shared.internal,
        callers=Callers(access, settings, shared.now),
        endings=Endings(shared.feed, database),
        passwords=passwords,
        providers=providers,
        cookies=Cookies(settings),
        cursor=Cursor(settings.keyring.key("cursor")),
        now=shared.now,
        claims=backbone.runs(ClaimsWorker(database, now=shared.now)),
        domains=Domains(settings.dns_servers),
        mapper=Mapper(),
        last_claims=ClaimsKeeper(SecretSeal(settings.keyring.key(LAST_CLAIMS), database), keep=settings.claims_keep),
        sign_ins=Limiter(50, 200),
        dns_questions=Limiter(1, 20),
        has_way_in=has_way_in,
    )
    plans = Plans(database, shared.feed, kinds(parts), now=shared.now)
    app = create_app(
        Service.DIRECTORY.value,
        title="Watchword directory",
        settings=settings,
        routers=[
            *routers(parts),
            plan_router(Service.DIRECTORY, plans, parts.callers, parts.endings, parts.cursor),
        ],
        version=version("watchword-directory"),
        pages=pages,
        large_below={scim.PREFIX: scim.MAX_BODY},
        large={apply_path(Service.DIRECTORY): MAX_BYTES},
        judge=trouble_of,
    )
    return backbone.service(app)
