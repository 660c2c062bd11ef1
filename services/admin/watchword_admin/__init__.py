"""admin: how the installation is configured.

Owns: clients with their secrets, identity providers, the console's own sessions.
Copies: users (directory), API keys (token).

Endpoints:
    POST GET /api/v1/clients, GET PUT PATCH DELETE /api/v1/clients/{client_id}
    POST /api/v1/clients/{client_id}/secrets, DELETE /api/v1/clients/{client_id}/secrets/{secret_id}
    POST GET /api/v1/providers, GET /api/v1/providers/presets, GET PUT PATCH DELETE /api/v1/providers/{provider_id}
    GET  /api/v1/events/stream               public events as they happen (server-sent events)
    GET  /admin…                             the console, an OpenID Connect client of its own installation
    GET  /internal/export/{client,provider}  for other services' copies

Events out: client.{registered,updated,disabled,enabled,deleted}, provider.{configured,updated,disabled,removed}.
Events in: user.* and api_key.* (copies); every public event (live, broadcast).
Ledger: `client_id` and `idp` states.

Modules: main → api, routes, console, consumers → changes → clients, providers → store → models; live → streams; uris,
client_documents, provider_documents and presets are pure. bootstrap makes the console's own client.

Specs: RFC 7591 2; RFC 8252 7.1, 7.3, 8.4; RFC 9700 2.1; OpenID Connect Core 3.1; RFC 7636 4.3; RFC 9457 3.
"""
