"""federation decides whether an upstream login is genuine.

Owns         upstream flows (a person who was sent to a provider and is expected back), fetched documents of providers,
             sign-ins and sign-outs that begin there, sessions there, tokens that are kept for applications, our SAML
             keys, the steps of failed sign-ins
Endpoints    GET /api/auth/sso/login/{ProviderId}?ticket=…      leave for the provider
             GET, POST /api/auth/sso/callback/{ProviderId}      come back from it
             GET /api/auth/sso/trials/{ProviderId}?ticket=…     try it, as an administrator
             POST /api/auth/sso/saml2/sp/acs/{ProviderId}       come back from a SAML provider
             GET, POST /api/auth/sso/saml2/sp/slo/{ProviderId}  sign-outs from and to one
             GET /api/auth/sso/saml2/sp/metadata/{ProviderId}   our metadata
             GET, POST /api/auth/sso/arrivals/{id}              confirm a sign-in that began at the provider
             GET /api/auth/sso/logout/{ProviderId}?ticket=…     leave for the provider to be signed out there
             GET /api/auth/sso/logout/{ProviderId}/done         come back from that
             POST /api/auth/sso/backchannel-logout/{ProviderId} sessions ended at the provider
             POST /api/auth/sso/token/{ProviderId}              a provider's token for an application
             /api/v1/upstream/{attempts,trials,saml,saml-keys}, POST /api/v1/providers/{id}/test    for administrators
Hand-overs   in: upstream-start, upstream-logout (authz), identity-refused (directory)
             out: identity (directory), upstream-ended (authz)
Events in    provider.{configured,updated,disabled,removed} (admin): the copy of providers, fetched documents;
             branding.changed (admin): how pages look;
             user.{disabled,deleted}, identity.unlinked (directory), session.started (authz): kept tokens
Events out   upstream_session.ended, for authz; upstream_tokens.{kept,dropped}; what comes of a sign-in is the
             directory's and authz's to say

A sign-in through a provider, in the order of the modules:

    routes, edge   the steps, their transactions and what is logged
    attempts       what is kept of a sign-in that failed
    trials         sign-ins that an administrator tries, from which nothing follows
    provider_checks  whether a provider would work, before anybody signs in
    flows          ticket, state and cookie belong together; what is sealed
    connectors     one per protocol: `oidc` and `oauth2`, which share `requests` (authorization, userinfo),
                   `token_requests`, `client_authentication`, `proofs` (DPoP), `ways` (clients); `saml`, whose parts are
                   `saml_messages` (what we write), `saml_guard` and `saml_library` (XML, loaded when needed),
                   `saml_response` (every check), `saml_identity`, `saml_logout`; `saml_idp`, `saml_sources` and
                   `saml_watch` (the provider as it is in force), `saml_sp` and `saml_keys` (our side)
    arrivals       sign-ins that begin at the provider
    logouts        sessions end there with ours, and ours with theirs; `logout_tokens`
    vault          tokens that are kept for applications, renewed and dropped; `token_store` is its SQL
    exchanges      a token of ours for one of the provider's
    metadata       the provider's endpoints: discovery, checked, and overrides
    fetched        documents through the outbound guard, cached per provider
    id_tokens      every check of an ID token
    identities     from claims to a verified identity; `claim_paths` and `lookups` (addresses, groups) find them
    failures       every named failure, as its page tells it
    store, models  SQL; tables
    consumers      events of admin
    sweeper        what directory refused stands among the attempts; what is over is deleted

Specs        OpenID Connect Core 3.1, 5.3; OpenID Connect Discovery 4; RFC 6749 4.1; RFC 7636; RFC 8725; RFC 9207;
             RFC 9700 2.1, 4.4, 4.7; RFC 8693; OAuth 2.0 Form Post Response Mode; SAML 2.0 Core,
             Bindings, Profiles, Metadata
"""
