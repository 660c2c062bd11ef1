"""The HTTP edge: pages of a sign-in, the protocol endpoints that browsers visit, the administration API."""

from fastapi import APIRouter

from watchword_authz.context import Context
from watchword_authz.routes import api, authorize, consent, login, logout, tickets


def routers(context: Context) -> list[APIRouter]:
    """Every route of the service."""
    return [module.router(context) for module in (authorize, login, tickets, consent, logout, api)]
