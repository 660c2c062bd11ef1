"""authz: who is signed in, and what they may be granted.

Owns (schema `authz`): sessions, flows (sign-ins on their way), pushed requests, credentials (passwords, authenticator
apps, recovery codes), consents, the ids of grants that came of its codes, throttle counters; and, in `bus`, what access
rules decided. Keeps copies of users
(directory), clients, providers, access rules and the branding (admin) and API keys (token).

Endpoints:
    GET  POST /oauth2/authorize               checks (authorize.py), then a flow or the answer at once
         POST /oauth2/par                     the same checks for a client that brings its request itself
    GET  POST /login                          password form, provider links, choice of an account
    GET  POST /login/factor                   the second factor, or its enrolment
    GET  POST /login/forgotten, /login/reset  a link by mail; the new password that it leads to
    GET       /login/provider/{ProviderId}    on to an identity provider
    GET       /login/complete, /login/prove   tickets from directory: who signed in; which account must be proved
    GET       /login/ended                    a ticket from federation: sessions that ended at a provider
    GET  POST /login/denied                   access rules do not let the person in
    GET  POST /consent                        the person allows or denies
         POST /oauth2/device_authorization    a device without a browser gets its codes
    GET  POST /device                         somebody enters the code that a device shows
    GET  POST /oauth2/logout                  RP-initiated logout
    GET  POST /account…                       a person's own account: credentials, sessions, applications
    GET       /.well-known/change-password, /.well-known/webfinger, /.well-known/security.txt, /robots.txt
    /api/v1/sessions, /api/v1/consents, /api/v1/credentials, /api/v1/factor-requirements, /api/v1/invitations,
    /api/v1/mail, /api/v1/decisions, /api/v1/settings; /internal/export/{session,credential,invitation}

Hand-overs in: signed-in, prove-account, set-password (directory), upstream-ended (federation), invite-people (admin).
Out: upstream-start, upstream-logout (federation), account-proved (directory), code, authorization-response,
device-code, device-answer (token). To itself: reset-password.
Events in: user.*, client.*, provider.*, rule.*, branding.*, api_key.*. Out: session.started, session.ended,
account.locked, credential.changed, consent.granted, consent.withdrawn.
Ledger: cuts of `sid` (a session ended) and `gid` (a consent withdrawn, a password replaced).

Where things are:
    authorize, checks                the ordered checks of an authorization request; one step for each parameter
    requests, redirects              what the checks leave; redirect URIs
    claims_parameter                 the `claims` parameter
    asking, pushed, clients          where a request's parameters stand; pushed ones; which client pushes
    request_objects                  those that the client signed
    flow, steps, flows               what a sign-in needs next (pure); acting on it; its row and its browser
    passwords, credentials, throttle a password tried; kept; how often
    totp, factors, factor_store      codes by time; a second factor enrolled and tried; its named SQL
    held, requirements               a sign-in that waits for its second factor; who has to prove one
    requirement_store, break_glass   named SQL of what demands one; a way in for somebody who has none any more
    account, password_policy, qr     what people see of their own account; passwords they may choose; a picture
    passkeys, passkey_store          keys on people's devices; their named SQL
    places                           where an address is, out of a file of the operator's
    mails, mail_store, notices       mail on its way; its named SQL; what people are told
    inviting, inviting_store         people who are to choose a password; its named SQL
    device_requests                  devices without a browser: their codes, and who decides about them
    arrivals, sessions, devices      somebody proved who they are; what is live; known browsers
    closing, closing_store           sessions that the ledger ended are said to be over; their named SQL
    consent, codes, answers          what was allowed; the code for token; the answer on its way to the application
    access                           whether access rules let the person use the client
    logout, hints                    signing out; id_token_hint
    routes, consumers, sweeper       the HTTP edge, the event edge, what time ends
    exporting                        who is signed in, for other services to count
    main, context, settings          composition; models, store: tables and named SQL

Specs: RFC 6238, RFC 6749, RFC 7636, RFC 8176, RFC 8252, RFC 8628, RFC 9126, RFC 9207, RFC 9700, OpenID Connect Core
1.0, RP-Initiated Logout 1.0, OAuth 2.0 Form Post Response Mode.
"""
