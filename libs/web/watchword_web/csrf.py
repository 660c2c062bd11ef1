"""Cross-site request forgery: a token in each form, and the browser's own word on where a request came from."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

from fastapi import Request

from watchword_web.settings import WebSettings


def form_token(key: bytes, *parts: str) -> str:
    """The token for the hidden field `csrf` of one form: 43 characters, different for each combination of parts.

    key: the service's `forms` key.  parts: what the form is for and whom it is bound to, for example
    `("consent", flow_id, flow_secret)`; never a bare constant, which would fit every browser.
    """
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return urlsafe_b64encode(hmac.digest(key, message, sha256)).decode().rstrip("=")


def check_form_token(key: bytes, token: str, *parts: str) -> bool:
    """Whether the token was made by `form_token` with the same key and parts."""
    return hmac.compare_digest(form_token(key, *parts).encode(), token.encode("utf-8", "replace"))


def same_origin(request: Request, settings: WebSettings) -> bool:
    """Whether the browser says that a page of ours sent this request; True also when it says nothing.

    `Sec-Fetch-Site` decides where it is sent (https and loopback): no page can forge it. On plain http elsewhere
    `Origin` decides. A request with neither comes from no current browser, so nobody's cookies were borrowed for it;
    the form token is still checked. `Origin: null` is refused: our own pages never cause it, because they are served
    with `Referrer-Policy: same-origin` (under `no-referrer` a browser sends `Origin: null` with every form).
    Spec: Fetch Standard 3.2 (Origin header); W3C Fetch Metadata 2.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin == settings.origin
