"""What a provider tells only when it is asked again: a person's addresses, and groups.

Every address asked is one that an administrator or a preset named, never one that a token or an answer names; further
pages of an answer are followed on the same server alone.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from httpx2 import URL, AsyncClient, HTTPError, InvalidURL, Response, codes
from pydantic import JsonValue

from watchword_events.exports import EmailLookup, ProviderExport
from watchword_federation.claim_paths import find, text_of
from watchword_federation.connectors.token_requests import Tokens
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.fetched import reason_of
from watchword_runtime.documents import UnusableDocument, parse_object
from watchword_runtime.outbound import MAX_BYTES, BadAnswer

MAX_GROUPS: Final = 2000
DEADLINE_S: Final = 15.0  # for all pages of all lists: each answer alone may take its time
_MAX_PAGES: Final = 20
_NEXT: Final = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?')

Claims = dict[str, JsonValue]


async def with_addresses(client: AsyncClient, lookup: EmailLookup, claims: Claims, tokens: Tokens) -> Claims:
    """The claims with the person's primary address, as the provider vouches for it.

    A verified address that is not the primary one counts only where no address is called primary.
    Raises SignInFailed(userinfo_failed).
    """
    async with _in_time():
        found = [each async for each in _listed(client, lookup.endpoint, lookup.items, tokens)]
    listed = [each for each in found if isinstance(each, dict)]
    primary = [each for each in listed if lookup.primary is not None and find(each, lookup.primary) is True]
    for each in primary or listed:
        address = find(each, lookup.address)
        is_verified = lookup.verified is not None and find(each, lookup.verified) is True
        if isinstance(address, str) and (primary or is_verified):
            return {**claims, "email": address, "email_verified": is_verified}
    return {name: value for name, value in claims.items() if name not in {"email", "email_verified"}}


async def with_groups(client: AsyncClient, provider: ProviderExport, claims: Claims, tokens: Tokens) -> Claims:
    """The claims with the groups that have to be asked for. Raises SignInFailed: groups_overage, userinfo_failed.

    A lookup that needs a scope is done where that scope is asked for.
    """
    claim, is_over = provider.groups_claim or "groups", is_overage(claims)
    asked = [
        each
        for each in provider.oauth.group_lookups
        if (each.scope is None or each.scope in provider.scopes) and (is_over or each.when == "always")
    ]
    if is_over and relies_on_groups(provider) and not asked:
        raise SignInFailed(Failure.GROUPS_OVERAGE, "the token names no groups, because there are too many")
    if not asked:
        return claims
    names: dict[str, None] = {}
    async with _in_time():
        for lookup in asked:
            async for each in _listed(client, lookup.endpoint, lookup.items, tokens, body=lookup.body):
                if (name := text_of(each, lookup.name)) is not None:
                    names[name] = None
                if len(names) > MAX_GROUPS:
                    raise SignInFailed(Failure.GROUPS_OVERAGE, f"more than {MAX_GROUPS} groups")
    return {**claims, claim: list[JsonValue](names)}


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raises SignInFailed(userinfo_failed) when what stands within takes too long."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield
    except TimeoutError:
        raise SignInFailed(Failure.USERINFO_FAILED, f"the lists took longer than {DEADLINE_S:g} s") from None


def relies_on_groups(provider: ProviderExport) -> bool:
    """Whether somebody whose groups are left out would lose what the settings give by groups."""
    rules = provider.role_mapping.rules if provider.role_mapping is not None else ()
    named = provider.groups_claim or (provider.saml.groups_attribute if provider.saml is not None else None)
    sync = provider.group_sync
    is_followed = sync is not None and (sync.claim is None or "groups" in sync.claim)
    return named is not None or is_followed or any("groups" in rule.expression for rule in rules)


def is_overage(claims: Mapping[str, JsonValue]) -> bool:
    """Whether the provider left groups out because there are too many for a token: Entra ID says so by a distributed
    claim, or by `hasgroups`.
    """
    elsewhere = claims.get("_claim_names")
    return (isinstance(elsewhere, dict) and "groups" in elsewhere) or claims.get("hasgroups") in (True, "true")


async def _listed(
    client: AsyncClient,
    endpoint: str,
    items: str,
    tokens: Tokens,
    *,
    body: dict[str, JsonValue] | None = None,
) -> AsyncIterator[JsonValue]:
    """Every item of an answer and of the pages that follow it."""
    url: str | None = endpoint
    for page in range(_MAX_PAGES):
        if url is None:
            return
        try:
            method = "GET" if body is None else "POST"
            response = await tokens.show(client, method, url, json=body, again=page > 0)
            if response.status_code != codes.OK:
                raise BadAnswer(f"answered {response.status_code}")
            # An answer may be a list; within an object it is checked as every other document.
            document = parse_object(b'{"items":' + response.content + b"}", max_bytes=MAX_BYTES)["items"]
        except (HTTPError, InvalidURL, TimeoutError, UnusableDocument) as error:
            raise SignInFailed(Failure.USERINFO_FAILED, f"{urlsplit(endpoint).path}: {reason_of(error)}") from error
        found = find(document, items) if items and isinstance(document, dict) else document
        if not isinstance(found, list):
            raise SignInFailed(Failure.USERINFO_FAILED, f"{urlsplit(endpoint).path}: no list where one was expected")
        for each in found:
            yield each
        url = _next(response, document, endpoint)
    raise SignInFailed(Failure.GROUPS_OVERAGE, f"more than {_MAX_PAGES} pages")


def _next(response: Response, document: JsonValue, endpoint: str) -> str | None:
    """Where the next page is, as the Link header (RFC 8288) or a member `next` says it; only on the same server."""
    linked = _NEXT.search(response.headers.get("link", ""))
    following = linked[1] if linked else find(document, "next") if isinstance(document, dict) else None
    if not isinstance(following, str):
        return None
    try:
        there, here = URL(following), URL(endpoint)
    except InvalidURL:
        return None
    is_there = (there.scheme, there.userinfo, there.netloc) == (here.scheme, b"", here.netloc)
    return following if is_there else None
