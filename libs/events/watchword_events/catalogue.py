"""The catalogue: every event that Watchword publishes, with its owner, subject, audience and consumers."""

from dataclasses import dataclass
from typing import Final

from watchword_events import contracts as c
from watchword_events.names import Service


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the catalogue. `consumers` are the durable ones: `<service>-<entity>`."""

    event: type[c.Event]
    consumers: tuple[Service, ...] = ()

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return self.event.type_name()

    @property
    def owner(self) -> Service:
        """The only service that publishes it."""
        return self.event.owner

    @property
    def subject(self) -> str:
        """The NATS subject."""
        return self.event.subject()

    @property
    def public(self) -> bool:
        """True when other teams may read it."""
        return self.event.public


_USER: Final = (Service.AUTHZ, Service.TOKEN, Service.ADMIN)
_CLIENT: Final = (Service.AUTHZ, Service.TOKEN)
_ORGANIZATION: Final = (Service.ADMIN,)
_SCOPE: Final = (Service.AUTHZ, Service.TOKEN)
_PROVIDER: Final = (Service.AUTHZ, Service.FEDERATION, Service.DIRECTORY)
_ISSUER: Final = (Service.TOKEN,)
_PAGES: Final = (Service.AUTHZ, Service.TOKEN, Service.FEDERATION, Service.DIRECTORY)
_API_KEY: Final = (Service.AUTHZ, Service.DIRECTORY, Service.ADMIN)

CATALOGUE: Final[tuple[Row, ...]] = (
    Row(c.UserProvisioned, _USER),
    Row(c.UserUpdated, _USER),
    Row(c.UserDisabled, (*_USER, Service.FEDERATION)),
    Row(c.UserEnabled, _USER),
    Row(c.UserDeleted, (*_USER, Service.FEDERATION)),
    Row(c.IdentityLinked),
    Row(c.IdentityUnlinked, (Service.FEDERATION,)),
    Row(c.OrganizationCreated, _ORGANIZATION),
    Row(c.OrganizationUpdated, _ORGANIZATION),
    Row(c.OrganizationDeleted, _ORGANIZATION),
    Row(c.GroupCreated),
    Row(c.GroupUpdated),
    Row(c.GroupDeleted),
    Row(c.RoleCreated),
    Row(c.RoleUpdated),
    Row(c.RoleDeleted),
    Row(c.AssignmentChanged),
    Row(c.MembershipChanged),
    Row(c.SessionStarted, (Service.FEDERATION,)),
    Row(c.SessionEnded, (Service.TOKEN,)),
    Row(c.AccountLocked),
    Row(c.CredentialChanged),
    Row(c.ConsentGranted),
    Row(c.ConsentWithdrawn),
    Row(c.UpstreamSessionEnded, (Service.AUTHZ,)),
    Row(c.UpstreamTokensKept),
    Row(c.UpstreamTokensDropped),
    Row(c.TokenRevoked),
    Row(c.GrantRevoked),
    Row(c.RefreshTokenReused),
    Row(c.ApiKeyCreated, _API_KEY),
    Row(c.ApiKeyRevoked, _API_KEY),
    Row(c.KeyPublished),
    Row(c.KeyRotated),
    Row(c.KeyRetired),
    Row(c.KeyRevoked),
    Row(c.ClientRegistered, _CLIENT),
    Row(c.ClientUpdated, _CLIENT),
    Row(c.ClientDisabled, _CLIENT),
    Row(c.ClientEnabled, _CLIENT),
    Row(c.ClientDeleted, _CLIENT),
    Row(c.ProviderConfigured, _PROVIDER),
    Row(c.ProviderUpdated, _PROVIDER),
    Row(c.ProviderDisabled, _PROVIDER),
    Row(c.ProviderRemoved, _PROVIDER),
    Row(c.ScopeChanged, _SCOPE),
    Row(c.ResourceChanged, _SCOPE),
    Row(c.RuleChanged, (Service.AUTHZ, Service.TOKEN)),
    Row(c.ServiceAccountChanged),
    Row(c.IssuerTrusted, _ISSUER),
    Row(c.IssuerUpdated, _ISSUER),
    Row(c.IssuerRemoved, _ISSUER),
    Row(c.BrandingChanged, _PAGES),
)

BY_TYPE: Final = {row.type: row for row in CATALOGUE}


@dataclass(frozen=True, slots=True)
class Durable:
    """A durable consumer: one service's work on the events of one entity."""

    name: str
    service: Service
    stream: str
    subject: str


def deliveries_of(service: Service) -> tuple[Durable, ...]:
    """Durable consumers of everything, one for each owner: what a service passes on to others' programs.

    `admin` alone has them, for webhooks.
    """
    if service is not Service.ADMIN:
        return ()
    owners = {row.owner for row in CATALOGUE if row.public}
    return tuple(
        Durable(f"{service.value}-deliveries-{owner.value}", service, owner.stream, f"auth.{owner.value}.*.*")
        for owner in Service
        if owner in owners
    )


def durables() -> tuple[Durable, ...]:
    """Every durable consumer that the catalogue's rows ask for, and those of deliveries, by name."""
    found = {
        f"{service.value}-{row.event.entity}": Durable(
            name=f"{service.value}-{row.event.entity}",
            service=service,
            stream=row.owner.stream,
            subject=f"auth.{row.owner.value}.{row.event.entity}.*",
        )
        for row in CATALOGUE
        for service in row.consumers
    }
    found |= {durable.name: durable for service in Service for durable in deliveries_of(service)}
    return tuple(found[name] for name in sorted(found))


def row_of(event: c.Event | type[c.Event]) -> Row:
    """The catalogue row of an event. Raises KeyError for one that is not in the catalogue."""
    return BY_TYPE[event.type_name()]
