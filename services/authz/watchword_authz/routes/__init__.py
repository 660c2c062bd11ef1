"""The HTTP edge: pages of a sign-in, the protocol endpoints that browsers visit, the administration API."""

from fastapi import APIRouter

from watchword_authz.context import Context
from watchword_authz.routes import (
    account,
    account_activity,
    account_applications,
    account_credentials,
    account_data,
    account_email,
    account_keys,
    account_passkeys,
    account_profile,
    account_providers,
    api,
    authorize,
    consent,
    decisions,
    denied,
    device,
    factor,
    invitations,
    language,
    login,
    logout,
    mail,
    me,
    par,
    requirements,
    reset,
    settings,
    tickets,
    upstream,
    well_known,
)


def routers(context: Context) -> list[APIRouter]:
    """Every route of the service."""
    return [
        module.router(context)
        for module in (
            authorize,
            par,
            login,
            language,
            factor,
            reset,
            tickets,
            denied,
            consent,
            device,
            logout,
            upstream,
            account,
            account_applications,
            account_profile,
            account_email,
            account_credentials,
            account_passkeys,
            account_providers,
            account_keys,
            account_activity,
            account_data,
            api,
            requirements,
            invitations,
            mail,
            me,
            decisions,
            settings,
            well_known,
        )
    ]
