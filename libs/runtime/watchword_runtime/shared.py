"""What one process gives to each service that it serves."""

from dataclasses import dataclass

from watchword_runtime.audit_log import AuditLog
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.internal import InternalClients
from watchword_runtime.positions import Positions
from watchword_runtime.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Shared:
    """One per process. instance: a name for logs and receipts, unique among the running processes.

    Take a service's client for pulls with `shared.internal.of(settings, Service.X)`.
    """

    feed: Feed
    internal: InternalClients
    now: Clock
    instance: str
    audit: AuditLog
    telemetry: Telemetry
    positions: Positions
