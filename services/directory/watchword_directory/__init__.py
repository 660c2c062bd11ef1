"""directory: which person an identity is.

Owns: users, identities (links from an upstream subject to a user), pending links.
Copies: providers (admin), API keys (token).

Endpoints:
    GET  /login/identity                     a verified identity, or a proved account, becomes a signed-in user
    POST GET /api/v1/users, GET PUT PATCH DELETE /api/v1/users/{id}, PUT /api/v1/users/{id}/roles
    GET  /api/v1/identities, GET DELETE /api/v1/identities/{id}
    GET  /internal/export/user               for other services' copies

Hand-overs in: identity (federation), account-proved (authz). Out: signed-in, prove-account, set-password (authz).
Events out: user.{provisioned,updated,disabled,enabled,deleted}, identity.{linked,unlinked}.
Events in: provider.* and api_key.* (copies).
Ledger: `sub` states and cuts.

Modules: main → routes, api, consumers → resolve → provisioning, linking → users → store → models; profiles, emails and
names are pure. sweeper deletes what is over. bootstrap is for the supervisor.

Specs: OpenID Connect Core 5.1, 5.7; RFC 5321 4.1.2; RFC 5891 4; RFC 9457 3.
"""
