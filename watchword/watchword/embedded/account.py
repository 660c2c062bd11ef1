"""PostgreSQL refuses to run as root, and rightly: as root we run it under an account that may do nothing else.

The account usually cannot enter the directories above our data (`/root` is 0700, and so is the data directory itself).
Permissions of other people's directories are never changed. Instead the child inherits an open descriptor of its own
directory and names it `/proc/self/fd/N`: the kernel then checks the permissions of that directory alone.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from watchword.embedded.process import Account, StartError

# An operator may create `watchword` for this; `postgres` exists where a system PostgreSQL is installed; `nobody` does
# everywhere.
_CANDIDATES = ("watchword", "postgres", "nobody")
CACHE = Path("/var/cache/watchword")


def unprivileged_account(home: Path) -> Account | None:
    """The account for PostgreSQL's files in `home`; None when we are not root and simply stay who we are.

    Files that exist decide: their owner keeps them.
    """
    if os.geteuid() != 0:
        return None
    if home.exists() and home.stat().st_uid != 0:
        owner = home.stat()
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in _CANDIDATES:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(name, found.pw_uid, found.pw_gid)
    raise StartError(
        "PostgreSQL does not run as root and there is no account `watchword`, `postgres` or `nobody`: "
        "create one (useradd --system watchword) or start Watchword as an ordinary user"
    )


def may_enter(account: Account | None, directory: Path) -> bool:
    """Whether the account can use the directory by its path (asked of the kernel: modes, ACLs, everything)."""
    if account is None:
        return True
    try:
        tried = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except (PermissionError, ValueError, OSError) as error:
        raise StartError(
            f"cannot start a process as {account.name} (uid {account.uid}): {error}; "
            "start Watchword as an ordinary user instead"
        ) from error
    return tried.returncode == 0


def reachable_copy(account: Account | None, programs: Path, name: str, *, cache: Path = CACHE) -> Path:
    """`programs` (a bin directory) itself when the account can use it, else the same in a copy below `cache`.

    name: of the copy; it stays for the next start.  Raises StartError when there can be none.
    """
    if may_enter(account, programs):
        return programs
    home = programs.parent
    parts = [home]
    # Programs of a wheel find their libraries beside the package: <site>/<package>/…/bin and <site>/<package>.libs.
    site = home.parent.parent
    if (libraries := site / f"{home.parent.name}.libs").is_dir():
        parts.append(libraries)
    copy, draft = cache / name, cache / f".{name}.{os.getpid()}"
    found = copy / programs.relative_to(site)
    if found.is_dir():
        return found
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        for part in parts:
            shutil.copytree(part, draft / part.relative_to(site), symlinks=True)
        for directory in (draft, *found.relative_to(copy).parents):
            (draft / directory).chmod(0o755)
        try:
            draft.rename(copy)
        except OSError:
            if not found.is_dir():  # nobody else was faster: it is a real failure
                raise
    except OSError as error:
        raise StartError(
            f"PostgreSQL's programs in {programs} cannot be reached by the account they must run under, and "
            f"copying them to {copy} failed ({error}): move the checkout out of a private directory, install "
            "PostgreSQL from the system's packages, or start Watchword as an ordinary user"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return found


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
