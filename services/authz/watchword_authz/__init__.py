"""authz: who is signed in, and what they may be granted.

Owns (schema `authz`): sessions, flows (sign-ins on their way), credentials (passwords), consents, the ids of grants
that came of its codes, throttle counters. Keeps copies of users (directory), clients and providers (admin) and API
keys (token).

Endpoints:
    GET  POST /oauth2/authorize               checks (authorize.py), then a flow or the answer at once
    GET  POST /login                          password form, provider links, choice of an account
    GET       /login/provider/{ProviderId}    on to an identity provider
    GET       /login/complete, /login/prove   tickets from directory: who signed in; which account must be proved
    GET  POST /consent                        the person allows or denies
    GET  POST /oauth2/logout                  RP-initiated logout
    /api/v1/sessions, /api/v1/consents, /api/v1/credentials

Hand-overs in: signed-in, prove-account, set-password (directory). Out: upstream-start (federation), account-proved
(directory), code (token).
Events in: user.*, client.*, provider.*, api_key.*. Out: session.started, session.ended, account.locked,
credential.changed, consent.granted, consent.withdrawn.
Ledger: cuts of `sid` (a session ended) and `gid` (a consent withdrawn, a password replaced).

Where things are:
    authorize, requests, redirects   the ordered checks of an authorization request, and what they leave
    flow, steps, flows               what a sign-in needs next (pure); acting on it; its row and its browser
    passwords, credentials, throttle a password tried; kept; how often
    arrivals, sessions, devices      somebody proved who they are; what is live; known browsers
    consent, codes, logout, hints    what was allowed; the code for token; signing out; id_token_hint
    routes, consumers, sweeper       the HTTP edge, the event edge, what time ends
    main, context, settings          composition; models, store: tables and named SQL

Specs: RFC 6749, RFC 7636, RFC 8252, RFC 9207, RFC 9700, OpenID Connect Core 1.0, RP-Initiated Logout 1.0, OAuth 2.0
Form Post Response Mode.
"""
