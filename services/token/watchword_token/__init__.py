"""Token: what a grant turns into.

Owns        signing and encryption keys, grants (refresh families), personal API keys, the registry of verifiers,
            back-channel deliveries; numbers the revocation ledger
Endpoints   /oauth2/{token,introspect,revoke,userinfo,jwks}, /oauth2/authorize/answer,
            /.well-known/{openid-configuration,oauth-authorization-server,jwks.json},
            /revocations[/stream|/position|/receipts],
            /api/v1/{keys,grants,api-keys,revocations,deliveries}, /internal/export/api_key, /internal/ask/opaque-token
Events out  key.{published,rotated,retired,revoked}, grant.revoked, refresh_token.reused, token.revoked,
            api_key.{created,revoked}; and every revocation on feed.revocation
Events in   client.*, user.*, rule.*, issuer.*, branding.* (copies, and what is kept in memory), key.* (other instances'
            keys), session.ended
Takes       the hand-overs `code`, `authorization-response`, `device-code` and `device-answer` from authz
Specs       RFC 6749, 6750, 7009, 7517, 7523, 7636, 7662, 8414, 8628, 8693, 8707, 9068, 9207, 9449, 9700; OpenID
            Connect Core, Discovery and Back-Channel Logout; JARM

    main, hot       the composition root, and the part of it that makes what is found before any middleware
    routes/         the HTTP edge: hot protocol endpoints, documents, feed, /api/v1
    grants/         authorization_code, device_code, refresh_token, client_credentials, token_exchange, jwt_bearer;
                    `issuing` is what they share
    approvals       what a person allowed becomes a grant and its first tokens
    access          what access rules say of a grant          groups      as a client is told of them
    subjects        tokens of ours that are exchanged: whose they are, what they descend from
    foreign         tokens of trusted issuers      workloads   what those become, where access rules allow it
    front_channel   answers of the authorization endpoint that hold tokens or are signed
    clients         clients in memory            memory      what hot paths know without a query
    binding         tokens bound to a key         spent       what may be used once
    tokens          access tokens, JWT or opaque  id_token    ID tokens
    keys            what is in use now, unsealed  families    refresh tokens as strings
    key_material    keys as objects               key_table   keys as rows; each change of state is one statement
    rotation        next, active, retiring, retired: moved on by the clock and by what followers report
    introspection, revocation, userinfo, metadata, profile, api_keys, bootstrap
    ledger, feed_api  positions for revocations, and the feed over HTTP      sweeper  what is over
    trial           what a client would be told of somebody; nothing is issued
    revocations, preview, verifiers, evidence  what is revoked, what would be, who obeys it, and the signed proof
    backchannel     logout tokens, until each client has heard
    store, batch    hot statements; many requests share one
    throttle, registered, edge, consumers, models, settings, lifetimes, encoding

Why the hot path looks as it does: docs/performance.md. How keys live: docs/keys.md.
"""
