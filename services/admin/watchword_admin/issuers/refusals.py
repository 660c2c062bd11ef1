"""What is refused about trusted issuers, as problem documents say it."""

from collections.abc import Iterator
from contextlib import contextmanager

from watchword_admin.edge import Parts, refusals
from watchword_admin.issuers import changes
from watchword_admin.issuers.documents import IssuerDocument
from watchword_web.errors import Problem


@contextmanager
def issuer_refusals() -> Iterator[None]:
    """Broken rules of this part become problem documents, as `edge.refusals` makes of the others."""
    try:
        with refusals("issuer"):
            yield
    except changes.AlreadyTrusted:
        raise Problem(
            409, "Already trusted", errors=[{"pointer": "#/iss", "detail": "it is trusted already"}]
        ) from None
    except changes.PrefixTaken:
        detail = "another issuer's subjects have this prefix"
        raise Problem(409, "Already taken", errors=[{"pointer": "#/subject_prefix", "detail": detail}]) from None
    except changes.OtherIssuer:
        raise _wrong("a trust keeps its issuer: remove it, and trust the other") from None


def check(parts: Parts, document: IssuerDocument) -> None:
    """Raises Problem for this installation itself, InvalidAddress for an address that it would not call."""
    if document.iss == parts.settings.issuer:
        raise _wrong("tokens of this installation itself are exchanged where a client's exchange_policies allow it")
    document.check_addresses(allowed=parts.settings.outbound_allow, demo=parts.settings.environment == "demo")


def _wrong(detail: str) -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": "#/iss", "detail": detail}])
