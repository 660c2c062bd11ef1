"""HTML pages: the template environment, and how a page leaves with its policy."""

from collections.abc import Iterable, Mapping, Sequence

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from watchword_web.assets import Assets
from watchword_web.csp import content_security_policy
from watchword_web.errors import PageError
from watchword_web.references import reference_of
from watchword_web.settings import WebSettings

# Pages send a referrer to our own origin only. `no-referrer`, which every other answer has, would make browsers send
# `Origin: null` with each form, and then `csrf.same_origin` could not tell our forms from those of a sandboxed frame.
_REFERRER_POLICY = "same-origin"


class Pages:
    """The pages of one service.

    templates_packages: packages with a `templates` folder; a name is looked for in the last package first, so that
    `["watchword_web", "watchword_authz"]` lets the service add pages and replace ours.  static_path: where `assets`
    is mounted, without the base path; a service with static files of its own needs a path of its own.
    """

    def __init__(
        self, templates_packages: Sequence[str], settings: WebSettings, *, static_path: str = "/static"
    ) -> None:
        self._settings = settings
        self.static_path = static_path
        self.assets = Assets(templates_packages, f"{settings.base_path}{static_path}")
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader(package) for package in reversed(templates_packages)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=["jinja2.ext.i18n"],
        )
        self._environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]  # added by the extension
        self._environment.globals |= {
            "product": "Watchword",
            "public_url": settings.public_url,
            "static": self.assets.url,
            "url": self.url,
            "lang": "en",
        }

    def url(self, path: str) -> str:
        """The path as the browser must ask for it: with the installation's base path."""
        return f"{self._settings.base_path}{path}"

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        form_action: Iterable[str] = (),
        scripts: bool = False,
        headers: Mapping[str, str] | None = None,
        **context: object,
    ) -> HTMLResponse:
        """A page that nobody may store, frame or script.

        request: the one being answered.  form_action: redirect URIs (or origins) in which a POST from this page may
        end, beside our own origin: the application's on login and consent.  scripts: True when the template loads a
        script file of ours.
        Raises jinja2.UndefinedError when the template uses a variable that is not given.
        """
        body = self._environment.get_template(template).render(context)
        return HTMLResponse(
            body,
            status,
            {
                "Content-Security-Policy": content_security_policy(form_action, scripts=scripts),
                "Referrer-Policy": _REFERRER_POLICY,
                "Cache-Control": "no-store",
                **(headers or {}),
            },
        )

    def render_error(self, request: Request, error: PageError) -> HTMLResponse:
        """The error page, with `#error-code` and `#reference`."""
        return self.render(
            request,
            "error.html",
            status=error.status,
            headers=error.headers,
            code=error.code,
            title=error.title,
            message=error.message,
            advice=error.advice,
            retry=error.retry,
            reference=reference_of(request.scope),
        )

    def render_form_post(self, request: Request, target: str, fields: Mapping[str, str]) -> HTMLResponse:
        """A page that posts the fields to a registered redirect URI by itself, or by its button without JavaScript.

        Spec: OAuth 2.0 Form Post Response Mode 2.
        """
        return self.render(
            request, "form_post.html", form_action=[target], scripts=True, target=target, fields=dict(fields)
        )
