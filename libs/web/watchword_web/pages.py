"""HTML pages: the template environment, and how a page leaves with its policy."""

import re
from collections.abc import Iterable, Mapping, Sequence

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from watchword_web import languages
from watchword_web.assets import Assets
from watchword_web.branding import PRODUCT, Branding, Face
from watchword_web.cookies import Cookies
from watchword_web.csp import PREVIEW, content_security_policy
from watchword_web.errors import PageError
from watchword_web.logos import logo_of
from watchword_web.references import reference_of
from watchword_web.settings import WebSettings
from watchword_web.surfaces import route_path
from watchword_web.texts import LANGUAGES, Text, Words, name_of

# Pages send a referrer to our own origin only. `no-referrer`, which every other answer has, would make browsers send
# `Origin: null` with each form, and then `csrf.same_origin` could not tell our forms from those of a sandboxed frame.
_REFERRER_POLICY = "same-origin"
_CODE = re.compile("`([^`]+)`")
_STEP = re.compile(rb"(?:(?:flow|ticket|with)=[\w-]{1,64}(?:&|$))*", re.ASCII)


def with_code(text: str) -> Markup:
    """The text, escaped; what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before


class Pages:
    """The pages of one service.

    templates_packages: packages with a `templates` folder; a name is looked for in the last package first, so that
    `["watchword_web", "watchword_authz"]` lets the service add pages and replace ours; their catalogues likewise.
    static_path: where `assets` is mounted, without the base path; a service with static files of its own needs a path
    of its own.  languages: those in which its pages are complete, the first for whoever asks for none of them.
    speaks: packages without templates, whose words are on its pages all the same.  branding: what its pages look like.
    """

    def __init__(
        self,
        templates_packages: Sequence[str],
        settings: WebSettings,
        *,
        static_path: str = "/static",
        languages: Sequence[str] = LANGUAGES,
        speaks: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self.static_path = static_path
        self.languages = tuple(languages)
        self.assets = Assets(templates_packages, f"{settings.base_path}{static_path}")
        self.branding = Branding(f"{settings.base_path}{static_path}/brand")
        self._cookies = Cookies(settings)
        self._words = {language: Words(language, [*templates_packages, *speaks]) for language in languages}
        self._environments = {
            language: self._environment(templates_packages, words) for language, words in self._words.items()
        }

    def _environment(self, packages: Sequence[str], words: Words) -> Environment:
        """The templates in one language: whatever is a `Text` comes out in it."""
        environment = Environment(
            loader=ChoiceLoader([PackageLoader(package) for package in reversed(packages)]),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=lambda value: words.of(value) if isinstance(value, Text) else value,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_callables(  # type: ignore[attr-defined]  # added by the extension
            words.gettext, words.ngettext, newstyle=True
        )
        environment.filters |= {
            "code": with_code,
            "date": words.date,
            "moment": words.moment,
            "number": words.number,
            "stamp": words.stamp,
            "translated": words.of,
        }
        environment.globals |= {
            "product": PRODUCT,
            "public_url": self._settings.public_url,
            "static": self.assets.url,
            "url": self.url,
            "lang": words.language,
            "logo": logo_of,
        }
        return environment

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
        frames: Iterable[str] = (),
        scripts: bool = False,
        headers: Mapping[str, str] | None = None,
        **context: object,
    ) -> HTMLResponse:
        """A page that nobody may store, frame or script.

        request: the one being answered.  form_action: redirect URIs (or origins) in which a POST from this page may
        end, beside our own origin: the application's on login and consent.  frames: addresses of applications that the
        page shows in frames.  scripts: True when the template loads a
        script file of ours.
        Raises jinja2.UndefinedError when the template uses a variable that is not given.
        """
        body = self._body(request, template, self.branding.face(self._cookies.read_theme(request)), context)
        policy = content_security_policy(form_action, frames=frames, scripts=scripts)
        return _response(body, status, policy, headers or {})

    def render_preview(
        self, request: Request, template: str, face: Face, *, status: int = 200, **context: object
    ) -> HTMLResponse:
        """A page as it would look with another face, for a frame in a page of ours; nothing in it leads anywhere."""
        body = self._body(request, template, face, context)
        return _response(body, status, PREVIEW, {"X-Frame-Options": "SAMEORIGIN"})

    def _body(self, request: Request, template: str, face: Face, context: Mapping[str, object]) -> str:
        language, own_address = self.language_of(request), _own_address(request)
        others = self._others(request, language) if own_address else []
        ours = {"other_languages": others, "own_address": own_address, "face": face, "product": face.name}
        shown = {**ours, **context}
        return self._environments[language].get_template(template).render(shown)

    def fragment(self, template: str, *, language: str | None = None, **context: object) -> str:
        """A part of a page, escaped like a whole one: what a live page puts in place of what it showed before.

        language: as `language_of` the page, the first one when left out.
        """
        return self._environments[language or self.languages[0]].get_template(template).render(context)

    def language_of(self, request: Request) -> str:
        """The language in which the request is answered."""
        return languages.language_of(request, self._cookies, self.languages)

    def words(self, language: str | None) -> Words:
        """What is said in a language, or in that of whoever asks for none of ours: for mails.

        language: a tag, as in the `locale` of a profile.
        """
        return self._words[languages.best([language or ""], self.languages) or self.languages[0]]

    def _others(self, request: Request, language: str) -> list[tuple[str, str]]:
        """Languages to change to, and what they call themselves; none where the application already asked."""
        if languages.is_asked(request.scope, self.languages):
            return []
        return [(each, name_of(each)) for each in self.languages if each != language]

    def render_error(self, request: Request, error: PageError) -> HTMLResponse:
        """The error page, with `#error-code` and `#reference`."""
        return self.render(
            request,
            "error.html",
            status=error.status,
            headers=error.headers,
            code=error.code,
            title=_words(error.title),
            message=_words(error.message),
            advice=[_words(line) for line in error.advice],
            retry=error.retry,
            leave=error.leave,
            reference=reference_of(request.scope),
        )

    def render_form_post(self, request: Request, target: str, fields: Mapping[str, str]) -> HTMLResponse:
        """A page that posts the fields to a registered redirect URI by itself, or by its button without JavaScript.

        Spec: OAuth 2.0 Form Post Response Mode 2.
        """
        return self.render(
            request, "form_post.html", form_action=[target], scripts=True, target=target, fields=dict(fields)
        )


def _response(body: str, status: int, policy: str, headers: Mapping[str, str]) -> HTMLResponse:
    ours = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": _REFERRER_POLICY,
        "Cache-Control": "no-store",
    }
    return HTMLResponse(body, status, {**ours, **headers})


def _own_address(request: Request) -> str:
    """The page's own address, without the base path; "" for one that cannot be opened again, or carries more than the
    step that it is: what others wrote, or a token, is not repeated in a page.
    """
    query: bytes = request.scope.get("query_string", b"")
    if request.method != "GET" or not _STEP.fullmatch(query):
        return ""
    return f"{route_path(request.scope)}?{query.decode('ascii')}".rstrip("?")


def _words(text: str) -> Text:
    """What an error says is in the catalogues, written as a `Text` or not."""
    return text if isinstance(text, Text) else Text(text)
