"""Broken rules about scopes and resource servers, as problem documents."""

from collections.abc import Iterator
from contextlib import contextmanager

from watchword_admin.edge import refusals
from watchword_admin.scopes import changes
from watchword_web.errors import Problem


@contextmanager
def scope_refusals(what: str) -> Iterator[None]:
    """Broken rules of scopes and resource servers become problem documents."""
    field = "name" if what == "scope" else "identifier"
    try:
        with refusals(what):
            yield
    except changes.NameTaken:
        error = f"another {what} has this {field}"
        raise Problem(409, "Already taken", errors=[{"pointer": f"#/{field}", "detail": error}]) from None
    except changes.NameStays:
        error = "it stands in consents and tokens, and is never changed"
        raise Problem(409, f"The {field} stays", errors=[{"pointer": f"#/{field}", "detail": error}]) from None
    except changes.TooMany:
        raise Problem(409, "Too many", f"There may be {changes.MOST} of them.") from None
