"""`/api/v1/settings`: what the installation was started with of what concerns sign-ins."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from watchword_authz.context import Context
from watchword_authz.settings import AuthzSettings
from watchword_runtime.access import Caller
from watchword_runtime.settings import PREFIX
from watchword_web.api import Page, ProblemDocument

# Nothing that is secret, nor where other systems are.
SHOWN: Final = (
    "local_passwords",
    "password_min_length",
    "session_idle_s",
    "session_max_s",
    "remember_device_days",
    "account_attempts",
    "account_wait_s",
    "account_lock_attempts",
    "account_lock_s",
    "address_attempts",
    "invitations",
    "decisions_keep_days",
)

_ERRORS: dict[int | str, dict[str, object]] = {401: {"model": ProblemDocument}, 403: {"model": ProblemDocument}}


class SettingItem(BaseModel):
    """A setting, which nobody changes while the service runs."""

    name: str = Field(description="The variable that sets it")
    value: bool | int
    is_default: bool = Field(description="Whether nothing else was said")
    meaning: str


def router(context: Context) -> APIRouter:
    """For administrators only."""
    api = APIRouter(prefix="/api/v1/settings", tags=["administration"], responses=_ERRORS)
    administrator = Annotated[Caller, Depends(context.callers.administrator)]

    @api.get("", summary="List of settings of sign-ins: passwords, sessions and waits")
    async def list_settings(_caller: administrator) -> Page[SettingItem]:
        return Page(items=[_item(context.settings, name) for name in SHOWN], next=None)

    return api


def _item(settings: AuthzSettings, name: str) -> SettingItem:
    field, value = AuthzSettings.model_fields[name], getattr(settings, name)
    return SettingItem(
        name=f"{PREFIX}{name.upper()}",
        value=value,
        is_default=value == field.default,
        meaning=field.description or "",
    )
