"""The HTTP edge: a person leaves for an upstream provider and comes back; what administrators see of it."""

from collections.abc import Sequence

from fastapi import APIRouter

from watchword_federation.edge import Federation
from watchword_federation.routes import api, logout, saml, sign_in, tokens


def routers(federation: Federation) -> Sequence[APIRouter]:
    """Everything that this service answers."""
    return [
        *(module.router(federation) for module in (sign_in, saml, logout, tokens, api)),
        api.check_router(federation),
    ]
