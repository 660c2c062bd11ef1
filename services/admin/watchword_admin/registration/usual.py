"""What every client that nobody vouches for may ask for, unless an initial access token says otherwise."""

from watchword_admin.registration.terms import Terms
from watchword_admin.scopes import store
from watchword_admin.scopes.documents import resource_of
from watchword_admin.settings import AdminSettings
from watchword_database import Session
from watchword_policy.scopes import is_privileged


async def usual_terms(session: Session, settings: AdminSettings) -> Terms:
    """The setting's scopes, the installation's default ones, and those of resource servers open to every client."""
    names = [*settings.registration_scope.split(), *await store.default_scopes(session)]
    for resource in await store.open_resources(session):
        names += [name for name in resource_of(resource).scopes if not is_privileged(name)]
    return Terms(scope=" ".join(dict.fromkeys(names)))
