"""What pages and mails look like, at the console: with a look at the sign-in page before anything is saved.

The preview is a page of its own in a frame, to which the same form is sent; so it needs no JavaScript, and a picture
that was chosen stays chosen.
"""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from pydantic import ValidationError

from watchword_admin.branding.api import MAX_BODY
from watchword_admin.branding.documents import BrandingDocument, exported_of
from watchword_admin.console import documents as seen
from watchword_admin.console.answers import worded
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_runtime.branding import brand_of
from watchword_runtime.calls import Refused
from watchword_web.colours import Theme
from watchword_web.forms import Params, read_query
from watchword_web.images import Image, UnusableImage

_TEXTS: Final = ("name", "primary_color", "policy_uri", "tos_uri", "support_uri")
_PATH: Final = "branding"
_HOME: Final = "/admin/branding"
_PREVIEW: Final = "/admin/branding/preview"


async def show_branding(console: Console, request: Request, visit: Visit) -> Response:
    """The form, with the sign-in page as it is."""
    return _form(console, request, visit, await _present(console, visit))


async def save_branding(console: Console, request: Request, visit: Visit) -> Response:
    """Pages and mails look as the form says."""
    form, files = await console.sessions.read_upload(request, visit, MAX_BODY)
    present = await _present(console, visit)
    try:
        await console.calls.send(visit.token, "PUT", _PATH, _members(form, files, present))
    except Refused as refused:
        return _form(console, request, visit, present, values=form, errors=refused.errors)
    return console.go(_HOME)


async def reset_branding(console: Console, request: Request, visit: Visit) -> Response:
    """Pages and mails look as Watchword's own."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "PUT", _PATH, {})
    return console.go(_HOME)


async def show_preview(console: Console, request: Request, visit: Visit) -> Response:
    """The sign-in page as it is, for the frame."""
    present = await _present(console, visit)
    document = BrandingDocument.model_validate(present.model_dump(exclude={"version"}))
    return _preview(console, request, document, read_query(request).get("theme", ""))


async def preview_branding(console: Console, request: Request, visit: Visit) -> Response:
    """The sign-in page as it would be, or what is wrong with what was typed, for the frame."""
    form, files = await console.sessions.read_upload(request, visit, MAX_BODY)
    theme = form.get("theme", "")
    try:
        document = BrandingDocument.model_validate(_members(form, files, await _present(console, visit)))
    except Refused as refused:
        return _wrong(console, request, refused.errors, theme)
    except ValidationError as invalid:
        errors = {str(each["loc"][0]): each["msg"].removeprefix("Value error, ") for each in invalid.errors()}
        return _wrong(console, request, errors, theme)
    return _preview(console, request, document, theme)


def _members(form: Params, files: Mapping[str, bytes], present: seen.Branding) -> dict[str, object]:
    """The branding that a form describes; without a new picture the logo stays. Raises Refused."""
    members: dict[str, object] = {name: form[name] for name in _TEXTS if name in form}
    if "logo" in files:
        try:
            members["logo"] = Image.read(files["logo"]).data_url
        except UnusableImage as unusable:
            raise Refused(400, "", {"logo": str(unusable)}, {}) from None
    elif "remove_logo" not in form:
        members["logo"] = present.logo
    return members


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    present: seen.Branding,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "branding.html",
        here="branding",
        values=values or {name: getattr(present, name) or "" for name in _TEXTS},
        errors=errors,
        present=present,
        has_preview=True,
    )


def _preview(console: Console, request: Request, document: BrandingDocument, theme: str) -> Response:
    face = console.pages.branding.face_of(brand_of(exported_of(document)), theme=_theme(theme), inline=True)
    return console.pages.render_preview(request, "console/branding_preview.html", face)


def _wrong(console: Console, request: Request, errors: Mapping[str, str], theme: str) -> Response:
    face = console.pages.branding.face_of(console.pages.branding.brand, theme=_theme(theme), inline=True)
    return console.pages.render_preview(request, "console/branding_wrong.html", face, status=400, errors=worded(errors))


def _theme(name: str) -> Theme:
    return "dark" if name == "dark" else "light"


async def _present(console: Console, visit: Visit) -> seen.Branding:
    return await console.calls.get(visit.token, _PATH, seen.Branding)


GET: Final[Mapping[str, Handler]] = {_HOME: show_branding, _PREVIEW: show_preview}
POST: Final[Mapping[str, Handler]] = {
    _HOME: save_branding,
    _PREVIEW: preview_branding,
    f"{_HOME}/reset": reset_branding,
}
