"""Broken rules about rules, as problem documents."""

from collections.abc import Iterator
from contextlib import contextmanager

from watchword_admin.edge import refusals
from watchword_admin.rules import changes
from watchword_web.errors import Problem


@contextmanager
def rule_refusals(what: str) -> Iterator[None]:
    """Broken rules of this part become problem documents, as `edge.refusals` makes of the others."""
    try:
        with refusals(what):
            yield
    except changes.NameTaken:
        detail = f"another {what} has this name"
        raise Problem(409, "Already taken", errors=[{"pointer": "#/name", "detail": detail}]) from None
    except changes.UnknownClient as unknown:
        detail = "there is no client with this id or short name"
        raise Problem(
            400, "The request is not valid", errors=[{"pointer": f"#/clients/{unknown.place}", "detail": detail}]
        ) from None
    except changes.TooManyRules as many:
        raise Problem(409, "Too many rules", f"There may be {many.most} at most.") from None
    except changes.AccountInUse as used:
        detail = f"Rules lead to it: {', '.join(used.rules[:10])}."
        raise Problem(409, "In use", detail) from None
