"""Names of services and identifier types that cross service boundaries."""

from enum import StrEnum
from typing import NewType


class Service(StrEnum):
    """The five services; the value is the PostgreSQL schema, the last part of the role and the subject token."""

    AUTHZ = "authz"
    TOKEN = "token"
    FEDERATION = "federation"
    DIRECTORY = "directory"
    ADMIN = "admin"

    @property
    def role(self) -> str:
        """The PostgreSQL role as which the service connects."""
        return f"watchword_{self.value}"

    @property
    def stream(self) -> str:
        """The JetStream stream that holds this owner's events."""
        return f"AUTH_{self.value.upper()}"


UserId = NewType("UserId", str)
ClientId = NewType("ClientId", str)
ProviderId = NewType("ProviderId", str)
GrantId = NewType("GrantId", str)
KeyId = NewType("KeyId", str)
Position = NewType("Position", int)

# A position is epoch * 2**40 + n: it only grows, is compared and never taken apart on a hot path, and stays
# below 2**53 so that JSON numbers carry it exactly.
EPOCH_SHIFT = 40


def position_of(epoch: int, n: int) -> Position:
    """The position of the n-th entry of an epoch."""
    return Position((epoch << EPOCH_SHIFT) + n)


def epoch_of(position: Position) -> int:
    """The epoch that a position belongs to."""
    return position >> EPOCH_SHIFT
