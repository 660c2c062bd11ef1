"""The HTTP edge of the token service.

| module | what |
|---|---|
| `protocol` | token, introspection, revocation, userinfo: hot ASGI endpoints, reached before any middleware |
| `documents` | JWKS and both discovery documents: hot, cacheable |
| `feed` | `/revocations`: snapshot, stream, newest position |
| `api` | `/api/v1/{keys,grants,api-keys,revocations}` |
| `described` | the hot endpoints in the OpenAPI document |
"""
