"""What is answered where a rule about webhooks is broken."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from watchword_admin.edge import not_found
from watchword_admin.store import Unknown
from watchword_admin.webhooks.changes import AboutStays, NameTaken
from watchword_web.errors import Problem


@contextmanager
def webhook_refusals() -> Iterator[None]:
    """Broken rules become problem documents."""
    try:
        yield
    except ValidationError as invalid:
        problems = [{**each, "loc": ("body", *each["loc"])} for each in invalid.errors(include_input=False)]
        raise RequestValidationError(problems) from None
    except Unknown:
        raise not_found("webhook") from None
    except NameTaken:
        error = "another webhook has this name"
        raise Problem(409, "Already taken", errors=[{"pointer": "#/name", "detail": error}]) from None
    except AboutStays:
        error = "what a webhook is about stays: add another webhook"
        raise Problem(400, "The request is not valid", errors=[{"pointer": "#/about", "detail": error}]) from None
