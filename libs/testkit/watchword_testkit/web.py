"""Somebody else's web site on loopback, with TLS and an authority of its own: documents by path."""

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass
class Served:
    """What one path answers. hang_s: how long it keeps who asks waiting."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0


@dataclass
class Site:
    """A web site. asked: the paths that were asked for, in order."""

    url: str
    ca_file: Path
    pages: dict[str, Served] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, document: object, *, status: int = 200, **headers: str) -> str:
        """The URL at which a JSON document stands now. headers: with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Served(json.dumps(document).encode(), status, {"content-type": "application/json", **named})
        return f"{self.url}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request and closes."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ", 2)[1]
            self.asked.append(path)
            page = self.pages.get(path, Served(b"", 404))
            await asyncio.sleep(page.hang_s)
            lines = [f"HTTP/1.1 {page.status} Status", f"content-length: {len(page.body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in page.headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + page.body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def web_site(directory: Path) -> AsyncIterator[Site]:
    """A site at https://localhost:<port>. directory: where its authority's certificate is put."""
    ca_file = directory / "authority.pem"
    context = _context(directory, ca_file)
    site = Site("", ca_file)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()


def _context(directory: Path, ca_file: Path) -> ssl.SSLContext:
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    root = (
        _certificate(name, name, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = (
        _certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    ca_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    pair = directory / "site.pem"
    pair.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
