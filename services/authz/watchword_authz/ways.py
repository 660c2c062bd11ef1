"""The ways to sign in: which providers somebody is shown, and to which one the address that they type leads.

What is typed decides by its domain alone. Nobody is looked up for that, so that the answer is the same, and as fast,
for addresses that are known here and for those that are not.
"""

from collections.abc import Sequence

from watchword_authz.context import Context
from watchword_authz.identifiers import identify
from watchword_events.exports import ClientExport, ProviderExport, UserExport


async def offered(context: Context) -> list[ProviderExport]:
    """Providers that one can sign in with, in the order that the administrator chose."""
    found = [provider for _, provider in await context.providers.all() if is_offered(context, provider)]
    return sorted(found, key=lambda provider: (provider.order, provider.display_name.casefold(), provider.id))


def is_offered(context: Context, provider: ProviderExport) -> bool:
    """Whether anybody may sign in through it now."""
    is_trusted = context.feed.is_live({"rev": context.feed.position, "idp": provider.id})
    return provider.enabled and provider.sign_in and is_trusted


def shown_to(
    user: UserExport | None, providers: Sequence[ProviderExport], *, last_used: str | None
) -> list[ProviderExport]:
    """Those with a button: one of an organization only for its people, and for whoever used it in this browser."""
    return [
        each
        for each in providers
        if each.organization is None
        or each.id == last_used
        or (user is not None and user.organization == each.organization)
    ]


def hinted(providers: Sequence[ProviderExport], client: ClientExport, hint: str | None) -> list[ProviderExport]:
    """The provider to which a client sends people; none where it is not offered, or another organization's."""
    return [
        each
        for each in providers
        if each.id == hint and (client.organization is None or each.organization in (None, client.organization))
    ]


def led_to(providers: Sequence[ProviderExport], typed: str) -> list[ProviderExport]:
    """Those to which the domain of an e-mail address belongs; none for a user name."""
    identifier = identify(typed)
    if identifier is None or identifier.column != "email":
        return []
    domain = identifier.value.rpartition("@")[2]
    return [each for each in providers if domain in each.domains]
