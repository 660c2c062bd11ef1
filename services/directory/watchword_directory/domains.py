"""Proof that an organization controls a domain: what its DNS says, asked now."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from watchword_directory.organization_documents import CHALLENGE_PREFIX, challenge_name

if TYPE_CHECKING:
    import dns.asyncresolver

log = structlog.get_logger()

_ANSWER_S: Final = 5.0
_MOST_RECORDS: Final = 64


class DnsAway(ConnectionError):
    """No name server answered: nobody knows."""


class Domains:
    """Asks the name servers that are given, or else those of the machine."""

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        """servers: addresses and ports."""
        self._servers = servers

    async def challenges(self, domain: str) -> frozenset[str]:
        """The challenges that the domain's DNS answers with; none where there is no such record. Raises DnsAway.

        Spec: RFC 1035 3.3.14 (one record may consist of several strings).
        """
        import dns.exception  # 57 modules, for the few who prove a domain
        import dns.resolver

        try:
            answer = await self._resolver().resolve(f"{challenge_name(domain)}.", "TXT", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return frozenset()
        except dns.exception.DNSException as error:
            log.warning("domain.dns_away", domain=domain, error=type(error).__name__)
            raise DnsAway(domain) from error
        records = [b"".join(record.strings).decode("ascii", "replace") for record in list(answer)[:_MOST_RECORDS]]
        said = (each.strip() for each in records)
        return frozenset(each.removeprefix(CHALLENGE_PREFIX) for each in said if each.startswith(CHALLENGE_PREFIX))

    def _resolver(self) -> "dns.asyncresolver.Resolver":
        """A new one each time: it remembers nothing, so that a record which was just made is seen."""
        import dns.asyncresolver
        import dns.nameserver

        resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in self._servers]
        resolver.lifetime = _ANSWER_S
        return resolver
