"""The Content-Security-Policy of our pages."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

# What no page of ours is: it answers everything that is not HTML, too.
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A page that one of ours shows in a frame: it sends nothing anywhere, and its pictures may stand in it.
PREVIEW = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'none'; "
    "frame-ancestors 'self'; base-uri 'none'"
)

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def content_security_policy(
    form_action: Iterable[str] = (), *, frames: Iterable[str] = (), scripts: bool = False
) -> str:
    """The policy of one page: our own style sheets and images, no frame around it, and forms that go where it says.

    form_action: redirect URIs or origins, beside our own, in which a POST from this page may end; a browser checks
    every hop of the redirects that follow.  frames: addresses of applications' pages that it shows in frames. Each must
    be registered with a client already.  scripts: whether the page loads one of our script files; inline script and
    style are impossible either way.
    Spec: CSP3 6.1.6 (frame-src), 6.4.2 (form-action), 6.4.3 (frame-ancestors).
    """
    targets = dict.fromkeys(["'self'", *(form_action_source(uri) for uri in form_action)])
    directives = ["default-src 'none'"]
    framed = dict.fromkeys(form_action_source(uri) for uri in frames)
    if framed:
        directives.append(f"frame-src {' '.join(framed)}")
    if scripts:
        directives += ["script-src 'self'", "connect-src 'self'"]
    directives += [
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        f"form-action {' '.join(targets)}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    return "; ".join(directives)


def form_action_source(uri: str) -> str:
    """The narrowest CSP source that covers a redirect URI: its origin, or its scheme where CSP has no finer form.

    That is so for an application's own scheme, and for hosts outside CSP's grammar (`[::1]`, `my_app`). Nothing but
    characters of that grammar comes back. Raises ValueError when there is no scheme or the port is none.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    if not _SCHEME.fullmatch(scheme):
        raise ValueError("a form-action target needs a scheme")
    if scheme not in {"http", "https"}:
        return f"{scheme}:"  # an application's own scheme has no origin
    host = parts.hostname or ""
    if not _HOST.fullmatch(host):
        return f"{scheme}:"
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{scheme}://{host}{port}"
