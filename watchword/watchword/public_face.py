"""What a browser and a client see at the public URL: discovery, the certificate, the clock, the cookies."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx2
from cryptography import x509

from watchword.doctor import SKEW_ERROR_S, SKEW_WARNING_S, Finding, Level

_PATIENCE_S: Final = 5.0
EXPIRES_WITHIN_DAYS: Final = 21
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SETTING: Final = "WATCHWORD_PUBLIC_URL"


async def at_the_public_url(url: str, *, in_container: bool = False) -> list[Finding]:
    """Everything there that people trip over. url: the issuer.

    in_container: a loopback name may mean another machine than browsers mean by it.
    """
    parts = urlsplit(url)
    found = [_scheme(parts)]
    if parts.scheme == "https":
        found.append(await _certificate(parts))
    try:
        async with httpx2.AsyncClient(timeout=_PATIENCE_S, trust_env=False, follow_redirects=False) as http:
            asked = time.time()
            discovery = await http.get(f"{url}/.well-known/openid-configuration")
            found += [_discovery(url, discovery), *_clock(discovery, (asked + time.time()) / 2)]
            found.append(_cookies(parts, await http.get(f"{url}/login")))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        remedy = (
            f"start it, and check the proxy before it, DNS and {_SETTING}; in a container the name must resolve too"
        )
        level = Level.ERROR
        if in_container and parts.hostname in _LOOPBACK:
            remedy = "in a container that is the container itself: look at it from the host"
            level = Level.WARNING
        found.append(Finding("public url", level, f"{url} does not answer: {type(error).__name__}", remedy))
    return found


def _scheme(parts: SplitResult) -> Finding:
    if parts.scheme == "https" or parts.hostname in _LOOPBACK:
        return Finding("public url", Level.OK, f"{parts.geturl()} is a secure context")
    remedy = f"put a proxy with TLS before it and set {_SETTING} to https://…: passkeys and cookies need it"
    return Finding("public url", Level.ERROR, f"{parts.geturl()} is plain http", remedy)


def _discovery(url: str, answer: httpx2.Response) -> Finding:
    try:
        issuer = answer.json()["issuer"] if answer.status_code == 200 else None
    except (ValueError, KeyError, TypeError):
        issuer = None
    if issuer == url:
        return Finding("discovery", Level.OK, "answers as a client sees it, with this issuer")
    if issuer is None:
        remedy = "something else answers there: check the proxy's routes, and that it keeps the path"
        return Finding("discovery", Level.ERROR, f"is not ours: status {answer.status_code}", remedy)
    remedy = f"set {_SETTING} to what browsers open, without a slash at the end; clients compare it letter by letter"
    return Finding("discovery", Level.ERROR, f"says that the issuer is {issuer}, not {url}", remedy)


def _clock(answer: httpx2.Response, now_s: float) -> list[Finding]:
    """The Date header has whole seconds, and a server renews it once in one: that much is no difference."""
    said = answer.headers.get("date")
    if said is None:
        return []
    skew_s = parsedate_to_datetime(said).timestamp() + 0.5 - now_s
    if abs(skew_s) <= SKEW_WARNING_S + 1:
        return [Finding("public clock", Level.OK, "goes with this machine's")]
    level = Level.ERROR if abs(skew_s) > SKEW_ERROR_S else Level.WARNING
    remedy = "let both keep time with NTP: tokens and assertions are refused when they come from the future"
    return [Finding("public clock", level, f"differs from this machine's by {skew_s:+.0f} s", remedy)]


def _cookies(parts: SplitResult, answer: httpx2.Response) -> Finding:
    """The flow's cookie, as the login page sets it."""
    set_cookies = answer.headers.get_list("set-cookie")
    wanted = ["HttpOnly", "SameSite=Lax", "Path=/"] + (["Secure"] if parts.scheme == "https" else [])
    missing = [each for each in wanted if any(each.lower() not in cookie.lower() for cookie in set_cookies)]
    if parts.scheme == "https" and any(not cookie.startswith("__Host-") for cookie in set_cookies):
        missing.append("the prefix __Host-")
    if set_cookies and not missing:
        return Finding("cookies", Level.OK, f"{', '.join(wanted)}")
    if not set_cookies:
        remedy = "look at /login through the proxy: it must pass Set-Cookie on and not cache pages"
        return Finding("cookies", Level.ERROR, f"the login page sets none (status {answer.status_code})", remedy)
    remedy = f"set {_SETTING} to https://…, and let the proxy leave Set-Cookie as it is"
    return Finding("cookies", Level.ERROR, f"lack {', '.join(missing)}", remedy)


async def _certificate(parts: SplitResult) -> Finding:
    """The certificate of the public URL, as a client verifies it."""
    context = ssl.create_default_context()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
    except ssl.SSLCertVerificationError as error:
        remedy = "renew it, or send the whole chain; clients refuse it, and so does federation to federation"
        return Finding("certificate", Level.ERROR, f"is not accepted: {error.verify_message}", remedy)
    except (OSError, TimeoutError) as error:
        return Finding("certificate", Level.ERROR, f"cannot be seen: {type(error).__name__}", "check the proxy's port")
    ends = x509.load_der_x509_certificate(found).not_valid_after_utc
    return expiring("certificate", [("of the public URL", ends)], "renew it, by ACME if nothing does so yet")


def expiring(check: str, ends: Sequence[tuple[str, datetime]], remedy: str) -> Finding:
    """What of these certificates ends soon, or has."""
    now = datetime.now(UTC)
    soon = [(name, (end - now).days) for name, end in ends if (end - now).days < EXPIRES_WITHIN_DAYS]
    if not soon:
        return Finding(check, Level.OK, f"{len(ends)} certificates are good for {EXPIRES_WITHIN_DAYS} days or more")
    level = Level.ERROR if any(days < 0 for _, days in soon) else Level.WARNING
    said = ", ".join(f"{name} {'ended' if days < 0 else f'ends in {days} days'}" for name, days in soon)
    return Finding(check, level, said, remedy)
