"""Documents that declare how the installation is configured: how each kind is found, made, changed and removed.

scopes, clients, providers, issuers, rules, webhooks, branding   the kinds, in the order in which they may name others
"""

from typing import Any

from watchword_admin.declared.branding import Brandings
from watchword_admin.declared.clients import Clients
from watchword_admin.declared.issuers import Issuers
from watchword_admin.declared.providers import Providers
from watchword_admin.declared.rules import Rules, ServiceAccounts
from watchword_admin.declared.scopes import Resources, Scopes
from watchword_admin.declared.webhooks import Webhooks
from watchword_admin.edge import Parts
from watchword_runtime.declared import Kind


def kinds(parts: Parts) -> list[Kind[Any]]:
    """Every kind of this service."""
    return [
        Scopes(),
        Resources(),
        Providers(parts),
        Clients(parts),
        Issuers(parts),
        ServiceAccounts(),
        Rules(parts),
        Webhooks(parts),
        Brandings(),
    ]
