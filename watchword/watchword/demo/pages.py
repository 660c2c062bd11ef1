"""What every page of the demo is made with: a template, one style, and nothing foreign."""

from pathlib import Path

from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles


class Pages:
    """Renders templates. shared: what all of them know."""

    def __init__(self, *, form_action: str = "'self'", **shared: object) -> None:
        """form_action: where forms lead, as the policy says it."""
        self._templates = Environment(
            loader=PackageLoader("watchword.demo"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self._shared = shared
        self._headers = {
            "Content-Security-Policy": (
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
                f"form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def render(self, template: str, status: int = 200, **context: object) -> HTMLResponse:
        """A page, kept by nobody."""
        body = self._templates.get_template(template).render(**self._shared, **context)
        return HTMLResponse(body, status, self._headers)


def static() -> Mount:
    """Style, script and picture."""
    return Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
