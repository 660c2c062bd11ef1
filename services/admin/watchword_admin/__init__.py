"""admin: how the installation is configured.

Owns: clients with their secrets, initial access tokens, identity providers, trusted issuers, access rules, service
accounts, the branding, the console's own sessions, seals of the audit log, webhooks.
Copies: users (directory), API keys (token).

Endpoints:
    GET  /api/v1/audit, /api/v1/audit/export, /api/v1/audit/verification
    POST GET /api/v1/clients, GET PUT PATCH DELETE /api/v1/clients/{client_id}
    POST /api/v1/clients/{client_id}/secrets, DELETE /api/v1/clients/{client_id}/secrets/{secret_id}
    POST GET /api/v1/providers, GET /api/v1/providers/presets, GET PUT PATCH DELETE /api/v1/providers/{provider_id}
    POST GET /api/v1/issuers, GET PUT PATCH DELETE /api/v1/issuers/{issuer_id}
    POST /oauth2/register, GET PUT DELETE /oauth2/register/{client_id}   clients that register themselves
    POST GET /api/v1/registration-tokens, GET DELETE /api/v1/registration-tokens/{token_id}
    GET  /api/v1/client-documents, GET PATCH DELETE /api/v1/client-documents/{document_id}
    POST GET /api/v1/rules, POST /api/v1/rules/test, GET PUT PATCH DELETE /api/v1/rules/{rule_id}
    POST GET /api/v1/webhooks, GET PUT PATCH DELETE /api/v1/webhooks/{webhook_id}, POST …/replay, …/test,
    GET …/dead-letters
    GET PUT PATCH /api/v1/branding, PUT DELETE /api/v1/branding/logo   what pages and mails look like
    POST GET /api/v1/service-accounts, GET PUT DELETE /api/v1/service-accounts/{name}
    GET  /api/v1/events/stream               public events as they happen (server-sent events)
    GET  /admin…                             the console, an OpenID Connect client of its own installation
    GET  /internal/export/{client,provider,issuer,rule,branding}  for other services' copies

Events out: client.{registered,updated,disabled,enabled,deleted}, provider.{configured,updated,disabled,removed},
issuer.{trusted,updated,removed}, rule.changed, service_account.changed, branding.changed.
Hand-overs out: invite-people (authz).
Events in: user.* and api_key.* (copies); every public event (live, broadcast; webhooks, work).
Ledger: `client_id` and `idp` states.

Modules: main → api, routes, console, consumers → changes → clients, providers → store → models; live → streams; uris,
presets and the documents of clients and providers are pure. bootstrap makes the console's own client. audit,
registration, rules, issuers, branding and webhooks are packages with maps of their own.

Specs: RFC 7591; RFC 7592; RFC 8252 7.1, 7.3, 8.4; RFC 9700 2.1; OpenID Connect Core 3.1; RFC 7636 4.3; RFC 9457 3.
"""
