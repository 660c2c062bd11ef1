"""federation decides whether an upstream login is genuine.

Owns         upstream flows (a person who was sent to a provider and is expected back), fetched documents of providers
Endpoints    GET /api/auth/sso/login/{ProviderId}?ticket=…      leave for the provider
             GET, POST /api/auth/sso/callback/{ProviderId}      come back from it
Hand-overs   in: upstream-start (authz); out: identity (directory)
Events in    provider.{configured,updated,disabled,removed} (admin): the copy of providers, fetched documents
Events out   none: what comes of a sign-in is the directory's and authz's to say

A sign-in through a provider, in the order of the modules:

    routes         the two steps, their transactions and what is logged
    flows          ticket, state and cookie belong together; what is sealed
    connectors     one per protocol: `oidc` (authorization code, PKCE, nonce, RFC 9207)
    metadata       the provider's endpoints: discovery, checked, and overrides
    fetched        documents through the outbound guard, cached per provider
    keys           which of the provider's keys may be used
    id_tokens      every check of an ID token
    identities     from claims to a verified identity
    failures       every named failure, as its page tells it
    documents      strict, bounded JSON
    store, models  SQL; tables
    consumers      events of admin

Specs        OpenID Connect Core 3.1, 5.3; OpenID Connect Discovery 4; RFC 6749 4.1; RFC 7636; RFC 8725; RFC 9207;
             RFC 9700 2.1, 4.4, 4.7; OAuth 2.0 Form Post Response Mode
"""
