"""The cookies that Watchword sets: one per sign-in flow, which binds it to a browser, the session, and choices."""

import re
from collections.abc import Iterable
from datetime import timedelta

from fastapi import Request, Response

from watchword_web.colours import THEMES, Theme
from watchword_web.settings import WebSettings

MAX_FLOWS = 8  # sign-ins that one browser may have open; 8 cookies of 100 bytes stay far below any header limit
FLOW_LIFETIME = timedelta(minutes=30)
_CHOICE_LIFETIME = timedelta(days=365)

_FLOW_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_SECRET = re.compile(r"[\w-]{16,128}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z-]{2,20}")
_THEME = re.compile("|".join(THEMES))
_PROVIDER = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Cookies:
    """Names, attributes and readers of the cookies of one installation.

    Over https without a path the names begin with `__Host-`, so that no other host of the domain can set them; with a
    path in the public URL they are bound to that path and begin with `__Secure-`; over plain http they have no prefix.
    All are HttpOnly and SameSite=Lax. Spec: RFC 6265bis 4.1.3, 5.7.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._secure = settings.secure
        self._path = settings.base_path or "/"
        prefix = "" if not settings.secure else "__Secure-" if settings.base_path else "__Host-"
        self._flow_prefix = f"{prefix}ww-flow-"
        self.session_name = f"{prefix}ww-session"
        self._language_name = f"{prefix}ww-language"
        self._theme_name = f"{prefix}ww-theme"
        self._provider_name = f"{prefix}ww-provider"

    def flow_name(self, flow_id: str) -> str:
        """The name of the cookie of one flow."""
        return f"{self._flow_prefix}{flow_id}"

    def read_flow(self, request: Request, flow_id: str) -> str | None:
        """The secret that this browser holds for the flow, None when it holds none or an unreadable one."""
        if not _FLOW_ID.fullmatch(flow_id):
            return None
        return _read(request, self.flow_name(flow_id))

    def set_flow(
        self, request: Request, response: Response, flow_id: str, secret: str, lifetime: timedelta = FLOW_LIFETIME
    ) -> None:
        """Sets the flow's cookie, and drops the oldest of the others so that at most 8 remain."""
        name = self.flow_name(flow_id)
        # RFC 6265 5.4: cookies of one path arrive in the order of their creation, oldest first.
        others = [key for key, _ in _pairs(request) if key.startswith(self._flow_prefix) and key != name]
        for old in list(dict.fromkeys(others))[: max(0, len(set(others)) - MAX_FLOWS + 1)]:
            self._drop(response, old)
        self._set(response, name, secret, lifetime)

    def drop_flow(self, response: Response, flow_id: str) -> None:
        """Removes the flow's cookie from the browser."""
        self._drop(response, self.flow_name(flow_id))

    def read_session(self, request: Request) -> str | None:
        """The session secret that this browser holds, None when it holds none or an unreadable one."""
        return _read(request, self.session_name)

    def set_session(self, response: Response, secret: str, lifetime: timedelta | None = None) -> None:
        """Sets the session cookie. lifetime: None lets it end with the browser."""
        self._set(response, self.session_name, secret, lifetime)

    def drop_session(self, response: Response) -> None:
        """Removes the session cookie from the browser."""
        self._drop(response, self.session_name)

    def read_language(self, request: Request) -> str | None:
        """The language that somebody chose in this browser, None when nobody did."""
        return _read(request, self._language_name, _LANGUAGE)

    def set_language(self, response: Response, language: str) -> None:
        """Remembers the choice for a year."""
        self._set(response, self._language_name, language, _CHOICE_LIFETIME)

    def read_theme(self, request: Request) -> Theme | None:
        """The theme that somebody chose in this browser, None for whatever the device prefers."""
        chosen = _read(request, self._theme_name, _THEME)
        return next((theme for theme in THEMES if theme == chosen), None)

    def set_theme(self, response: Response, theme: Theme | None) -> None:
        """Remembers the choice for a year. theme: None forgets it."""
        if theme is None:
            self._drop(response, self._theme_name)
        else:
            self._set(response, self._theme_name, theme, _CHOICE_LIFETIME)

    def read_provider(self, request: Request) -> str | None:
        """The id of the provider through which somebody signed in last in this browser, None when nobody did."""
        return _read(request, self._provider_name, _PROVIDER)

    def set_provider(self, response: Response, provider_id: str) -> None:
        """Remembers the way for a year."""
        self._set(response, self._provider_name, provider_id, _CHOICE_LIFETIME)

    def _set(self, response: Response, name: str, value: str, lifetime: timedelta | None) -> None:
        response.set_cookie(
            name,
            value,
            max_age=None if lifetime is None else int(lifetime.total_seconds()),
            path=self._path,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def _drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path=self._path, secure=self._secure, httponly=True, samesite="lax")


def _pairs(request: Request) -> Iterable[tuple[str, str]]:
    # RFC 9113 8.2.3: HTTP/2 may split the cookies over several header lines.
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals:
                yield name, value


def _read(request: Request, name: str, form: re.Pattern[str] = _SECRET) -> str | None:
    values = {value for key, value in _pairs(request) if key == name}
    # Two different values under one name: one of them was planted from elsewhere, and nobody can say which.
    if len(values) != 1:
        return None
    value = values.pop()
    return value if form.fullmatch(value) else None
