"""Where an address is: city and country, out of a GeoIP database that the operator supplies (MaxMind DB format).

Nothing is asked of anybody outside, and what is found is shown and not stored.
"""

import asyncio
import threading
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import structlog
from maxminddb import MODE_FILE, Reader, open_database

from watchword_web.texts import LANGUAGES

log = structlog.get_logger()

Named = Mapping[str, str]  # a place by language

_MOST: Final = 100  # characters of a name: the file is somebody else's
_FALLBACK: Final = "en"


class Places:
    """Reads the file where somebody asks, and anew when it has changed. Without it, or while it is broken, no place is
    known.
    """

    def __init__(self, file: Path | None) -> None:
        """file: None for none."""
        self._file = file
        self._reader: Reader | None = None
        self._stamp: tuple[int, ...] | None = ()  # of a file that was never looked at
        self._lock = threading.Lock()

    def start(self) -> None:
        """A file that cannot be read stands in the log."""
        if self._file is not None:
            with self._lock:
                self._look(self._file)

    async def stop(self) -> None:
        """The file is closed."""
        with self._lock:
            self._close()

    async def find(self, addresses: Iterable[str]) -> Mapping[str, Named]:
        """The places of addresses, by address, each in every language; those alone that are known.

        Private and loopback addresses have none, whatever the file says.
        """
        asked = {each for each in addresses if _is_public(each)}
        if self._file is None or not asked:
            return {}
        return await asyncio.to_thread(self._find, self._file, asked)

    def _find(self, file: Path, asked: Iterable[str]) -> Mapping[str, Named]:
        with self._lock:
            reader = self._look(file)
            if reader is None:
                return {}
            try:
                found = {each: _named(reader.get(each)) for each in asked if _fits(each, reader)}
            except Exception as error:  # whatever is wrong in somebody else's file: a page is shown without it
                log.warning("places.unreadable", file=str(file), error=type(error).__name__)
                return {}
        return {address: named for address, named in found.items() if named}

    def _look(self, file: Path) -> Reader | None:
        """The reader of the file as it is now."""
        try:
            status = file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return self._reader
        self._close()
        self._stamp = stamp
        try:
            # Not mapped into memory: a file that is written over in place would end the process.
            self._reader = open_database(file, MODE_FILE)
        except Exception as error:  # as above: a hostile header fails in many ways
            log.warning("places.unreadable", file=str(file), error=type(error).__name__)
        return self._reader

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._stamp = None, ()


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _fits(address: str, reader: Reader) -> bool:
    """Whether the file can have the address: some know IPv4 alone."""
    return ip_address(address).version <= reader.metadata().ip_version


def _named(record: object) -> Named:
    """City and country in each language, as far as the record has them."""
    if not isinstance(record, Mapping):
        return {}
    parts = (record.get("city"), record.get("country"))
    places = {language: ", ".join(filter(None, (_name(each, language) for each in parts))) for language in LANGUAGES}
    return {language: place for language, place in places.items() if place}


def _name(part: object, language: str) -> str:
    """What a city or country is called in a language, or else in English, or else by its code, or anyhow."""
    found = part
    if isinstance(part, Mapping):
        names = part.get("names")
        known = names if isinstance(names, Mapping) else {}
        found = known.get(language) or known.get(_FALLBACK) or part.get("iso_code") or next(iter(known.values()), "")
    return "".join(filter(str.isprintable, found))[:_MOST] if isinstance(found, str) else ""
