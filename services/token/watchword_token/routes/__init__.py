"""The HTTP edge of the token service.

| module | what |
|---|---|
| `hot` | what hot endpoints share: ASGI endpoints that are reached before any middleware |
| `protocol` | token, introspection, revocation, userinfo: hot |
| `documents` | JWKS and both discovery documents: hot, cacheable |
| `feed` | `/revocations`: snapshot, stream, newest position |
| `api` | `/api/v1/{keys,grants,api-keys,revocations}` |
| `described` | the hot endpoints in the OpenAPI document |
"""
