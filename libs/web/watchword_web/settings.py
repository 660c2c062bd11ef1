"""What the HTTP edge needs to know about the installation: its public URL and which proxies it trusts."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol
from urllib.parse import urlsplit

IPNetwork = IPv4Network | IPv6Network


class WebSettings(Protocol):
    """The part of a service's settings that this library reads; `watchword_runtime.settings.ServiceSettings` fits."""

    @property
    def public_url(self) -> str:
        """The issuer: no trailing slash, may carry a path."""
        ...

    @property
    def base_path(self) -> str:
        """The path of `public_url`: `""` or, for example, `"/auth"`."""
        ...

    @property
    def secure(self) -> bool:
        """Whether `public_url` is https."""
        ...

    @property
    def origin(self) -> str:
        """Scheme, host and port of `public_url`, as a browser writes them in `Origin`."""
        ...

    @property
    def trusted_proxies(self) -> Sequence[IPNetwork]:
        """Networks whose `X-Forwarded-For` and `X-Forwarded-Host` are believed."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """`WebSettings` made from a URL alone, for programs without service settings (the demo, tests).

    public_url: as `WebSettings.public_url`, its host in lower case and without the scheme's default port.
    """

    public_url: str
    trusted_proxies: Sequence[IPNetwork] = ()

    @property
    def base_path(self) -> str:
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"
