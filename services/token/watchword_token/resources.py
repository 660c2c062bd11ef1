"""Resource servers: for which of them a client may have tokens, and what such tokens look like."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from watchword_events.exports import ResourceExport
from watchword_policy.scopes import PERSONAL, format_scope, is_privileged
from watchword_token.clients import Client
from watchword_token.key_material import Alg
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_web.errors import OAuthError
from watchword_web.forms import Params


class Resource(NamedTuple):
    """A resource server as hot paths need it; None where it leaves the choice to the client.

    scopes: of tokens for it, any where there are none.  is_open: every client may have tokens for it.
    """

    scopes: frozenset[str]
    is_open: bool
    opaque: bool | None
    lifetime_s: int | None
    alg: Alg | None


Resources = Mapping[str, Resource]
NO_RESOURCES: Final[Resources] = {}


class Shape(NamedTuple):
    """What an access token looks like, and how long it lives."""

    opaque: bool
    alg: Alg
    lifetime_s: int


def resources_of(exports: Sequence[ResourceExport]) -> Resources:
    """Resource servers by identifier."""
    longest = int(LONGEST_ACCESS_TOKEN.total_seconds())
    return {
        each.identifier: Resource(
            scopes=each.scopes,
            is_open=each.any_client,
            opaque=None if each.access_token_format is None else each.access_token_format == "opaque",
            lifetime_s=None if each.access_token_lifetime_s is None else min(each.access_token_lifetime_s, longest),
            alg=each.access_token_signing_alg,
        )
        for each in exports
    }


def requested_resource(form: Params, client: Client, resources: Resources = NO_RESOURCES) -> tuple[str, ...]:
    """The resources that the token shall be for, of those that the client may use. Spec: RFC 8707 2, 2.2."""
    resource = tuple(form.get("resource", "").split())
    if not all(is_for(client, each, resources) for each in resource):
        raise OAuthError("invalid_target", "The client may not use this resource")
    return resource


def is_for(client: Client, resource: str, resources: Resources) -> bool:
    """Whether the client may have tokens for a resource: its own, or one that is open to every client."""
    known = resources.get(resource)
    return resource in client.audience or (known is not None and known.is_open)


def shape_of(
    client: Client, resource: tuple[str, ...], resources: Resources, *, lifetime_s: int | None = None
) -> Shape:
    """What a token for these resources looks like: as they say, else as the client says. The shortest life counts.

    resource: what is asked for; without any, the client's audience.  lifetime_s: of what the token is made of, which
    counts instead of the client's. Raises OAuthError invalid_target when they want different tokens: then each needs a
    token of its own.
    """
    known = [found for each in resource or client.audience if (found := resources.get(each)) is not None]
    if not known:
        return Shape(client.opaque, client.access_alg, client.lifetime_s if lifetime_s is None else lifetime_s)
    formats = {each.opaque for each in known if each.opaque is not None}
    algs = {each.alg for each in known if each.alg is not None}
    if len(formats) > 1 or len(algs) > 1:
        raise OAuthError("invalid_target", "These resources take different tokens: ask for one of them at a time")
    lives = [life for life in (lifetime_s, *(each.lifetime_s for each in known)) if life is not None]
    return Shape(
        opaque=formats.pop() if formats else client.opaque,
        alg=algs.pop() if algs else client.access_alg,
        lifetime_s=min(lives) if lives else client.lifetime_s,
    )


def scope_for(scope: str, client: Client, resource: tuple[str, ...], resources: Resources) -> str:
    """The part of a scope that a token for these resources carries: theirs, and what is about the person.

    Everything where one of them is not known here, or takes any scope. Spec: RFC 8707 2.2; RFC 9700 2.3.
    """
    audience = resource or client.audience
    if not audience or not scope:
        return scope
    theirs = set(PERSONAL)
    for each in audience:
        known = resources.get(each)
        if known is None or not known.scopes:
            return scope
        theirs |= known.scopes
    asked = scope.split(" ")
    kept = [one for one in asked if one in theirs or is_privileged(one)]
    return scope if len(kept) == len(asked) else format_scope(kept)
