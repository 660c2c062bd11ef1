"""What every route of the edge needs of a request."""

from fastapi import Request

from watchword_authz.context import Context
from watchword_web.addresses import address_prefix, client_address
from watchword_web.surfaces import Surface


def address_of(context: Context, request: Request) -> str:
    """The client's address, believing only proxies that the operator named."""
    peer = request.client.host if request.client else None
    return client_address(request.scope["headers"], peer, context.settings.trusted_proxies)


def limit_beginnings(context: Context, request: Request) -> None:
    """Raises PageError (429) for an address that begins too many sign-ins: each may leave a row behind."""
    context.beginnings.check(address_prefix(address_of(context, request)), context.now(), Surface.PAGE)
