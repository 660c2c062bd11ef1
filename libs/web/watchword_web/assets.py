"""Static files under content-hashed URLs."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_FOREVER = "public, max-age=31536000, immutable"
_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    media_type: str
    digest: str


class Assets:
    """The endpoint of a route `…/{path:path}` with the files of the packages' `static` folders, held in memory.

    packages: a later one may replace a file of an earlier one.  path: the route's part before
    `{path:path}`, base path included. Files are found in a dictionary, so that no path can lead out of it.
    """

    def __init__(self, packages: Iterable[str], path: str) -> None:
        self._path = path
        self._assets: dict[str, _Asset] = {}
        for package in packages:
            folder = files(package) / "static"
            if folder.is_dir():
                self._read(folder, "")

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                self._read(entry, f"{name}/")
                continue
            media_type = _TYPES.get(name[name.rfind(".") :])
            if media_type is not None:
                body = entry.read_bytes()
                digest = hashlib.sha256(body).hexdigest()[:_HASH_LENGTH]
                self._assets[name] = _Asset(body, media_type, digest)

    def url(self, name: str) -> str:
        """The path of a file, which changes with its content. Raises KeyError when there is no such file."""
        return f"{self._path}/{self._assets[name].digest}/{name}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        path: str = scope["path_params"]["path"]
        digest, _, name = path.partition("/")
        asset = self._assets.get(name)
        if asset is None:
            return Response("Not found", 404, media_type="text/plain")
        return immutable(scope, asset.body, asset.media_type, asset.digest, digest)


def immutable(scope: Scope, body: bytes, media_type: str, digest: str, asked: str) -> Response:
    """The answer to a request for something whose address changes with its content. asked: the digest in the address.

    While a release rolls out, or a change spreads, a page of one instance may ask another that has the next or the last
    version. It gets that one, but nobody keeps it under the wrong digest.
    """
    if scope["method"] not in {"GET", "HEAD"}:
        return Response(status_code=405, headers={"Allow": "GET, HEAD"})
    headers = {
        "ETag": f'"{digest}"',
        "Cache-Control": _FOREVER if asked == digest else "no-cache",
        "Content-Type": media_type,
    }
    known = [value.decode("latin-1") for key, value in scope["headers"] if key == b"if-none-match"]
    if any(headers["ETag"] in value for value in known):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers)
