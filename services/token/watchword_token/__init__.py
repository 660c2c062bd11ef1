"""Token: what a grant turns into.

Owns        signing and encryption keys, grants (refresh families), personal API keys; numbers the revocation ledger
Endpoints   /oauth2/{token,introspect,revoke,userinfo,jwks}, /.well-known/{openid-configuration,
            oauth-authorization-server}, /revocations[/stream|/position], /api/v1/{keys,grants,api-keys,revocations},
            /internal/export/api_key
Events out  key.published, grant.revoked, refresh_token.reused, token.revoked, api_key.{created,revoked};
            and every revocation on feed.revocation
Events in   client.*, user.* (copies, and what is kept in memory), key.* (other instances' keys)
Takes       the hand-over `code` from authz
Specs       RFC 6749, 6750, 7009, 7636, 7662, 8414, 8707, 9068, 9207, 9700; OpenID Connect Core and Discovery

    main            the composition root
    routes/         the HTTP edge: hot protocol endpoints, documents, feed, /api/v1
    grants/         authorization_code, refresh_token, client_credentials; `issuing` is what they share
    clients         client authentication        memory      what hot paths know without a query
    tokens          access tokens, JWT or opaque  id_token    ID tokens
    keys            made once, sealed at rest     families    refresh tokens as strings
    introspection, revocation, userinfo, metadata, profile, api_keys, revocations
    ledger, feed_api  positions for revocations, and the feed over HTTP
    store, batch    hot statements; many requests share one
    throttle, origins, edge, consumers, models, settings, lifetimes, encoding

Why the hot path looks as it does: docs/performance.md.
"""
