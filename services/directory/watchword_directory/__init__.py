"""directory: which person an identity is, and where that person stands.

Owns: users, identities (links from an upstream subject to a user), what providers last
said of them, pending links; groups, organizations, roles and who
has them; the names of further attributes; SCIM tokens.
Copies: providers, branding (admin), API keys (token).

Endpoints:
    GET  /login/identity                     a verified identity, or a proved account, becomes a signed-in user
    POST GET /api/v1/users, GET PUT PATCH DELETE /api/v1/users/{id}, PUT /api/v1/users/{id}/roles, GET …/rights
    GET  /api/v1/identities, GET DELETE /api/v1/identities/{id}, GET …/claims,
         POST /api/v1/identities/preview
    POST GET /api/v1/groups, GET PUT PATCH DELETE /api/v1/groups/{id}, GET POST …/members
    POST GET /api/v1/organizations, GET PUT PATCH DELETE /api/v1/organizations/{id}, …/domains[/{domain}[/verify]]
    POST GET /api/v1/roles, GET PUT PATCH DELETE /api/v1/roles/{id}
    POST GET /api/v1/assignments, GET DELETE /api/v1/assignments/{id}
    POST GET /api/v1/scim-tokens, GET DELETE /api/v1/scim-tokens/{id}, GET …/failures
    GET  /api/v1/attributes, PUT DELETE /api/v1/attributes/{name}
    /scim/v2: …/Users, …/Groups, …/Bulk, …/ServiceProviderConfig, …/ResourceTypes, …/Schemas
    GET  /internal/export/{user,organization}  for other services' copies

Hand-overs in: identity (federation), account-proved (authz). Out: signed-in, prove-account, set-password (authz),
identity-refused (federation).
Events out: user.{provisioned,updated,disabled,enabled,deleted}, identity.{linked,unlinked}, membership.changed,
{group,organization,role}.{created,updated,deleted}, assignment.changed.
Events in: provider.*, branding.* and api_key.* (copies).
Ledger: `sub` states and cuts.

Modules: main → routes, consumers → resolve → synchronizing, linking → mapping, provisioning → users, groups, roles,
organizations → claims, standing → store, group_table, role_table, organization_table → models. mapping asks a
provider's rules what somebody gets, synchronizing gives it; previews says what would be, last_claims what a provider
said. standing says what follows for
a user from groups and roles; claims lets versions rise with what people stand behind; ranks says who may touch whom,
delegation what an organization's own administrators may say; domains asks the DNS. profiles, …_documents, texts
and names are pure. sweeper deletes what is over. bootstrap is for the supervisor.

Specs: OpenID Connect Core 5.1, 5.7; RFC 1035 3.3.14; RFC 5321 4.1.2; RFC 5891 4; RFC 9457 3.
"""
