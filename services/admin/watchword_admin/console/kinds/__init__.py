"""Kinds of things that the console shows as a list, a form and deeds, each as one declaration: `records` shows them."""

from typing import Final

from watchword_admin.console.kinds.applications import (
    CLIENT_DOCUMENTS,
    REGISTRATION_TOKENS,
    RESOURCES,
    SCOPES,
    SERVICE_ACCOUNTS,
)
from watchword_admin.console.kinds.people import ATTRIBUTES, CONSENTS, DELIVERIES, GRANTS, SCIM_TOKENS, SESSIONS
from watchword_admin.console.kinds.safety import API_KEYS, FACTOR_REQUIREMENTS, SAML_KEYS, SETTINGS, VERIFIERS
from watchword_admin.console.kinds.shapes import Kind
from watchword_admin.console.kinds.webhooks import WEBHOOKS

KINDS: Final[tuple[Kind, ...]] = (
    SESSIONS,
    GRANTS,
    CONSENTS,
    ATTRIBUTES,
    SCIM_TOKENS,
    SCOPES,
    RESOURCES,
    SERVICE_ACCOUNTS,
    REGISTRATION_TOKENS,
    CLIENT_DOCUMENTS,
    API_KEYS,
    FACTOR_REQUIREMENTS,
    SETTINGS,
    VERIFIERS,
    SAML_KEYS,
    WEBHOOKS,
    DELIVERIES,
)
