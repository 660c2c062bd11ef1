"""How Watchword shows a provider that it is the client: by a secret, or by a signature.

Spec: RFC 6749 2.3.1; RFC 7523 2.2, 3; OpenID Connect Core 9.
"""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from watchword_events.exports import ProviderExport
from watchword_federation.failures import Failure, SignInFailed

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE: Final = timedelta(minutes=1)
# Apple accepts six months; what is made for one request needs minutes.
_APPLE_LIFE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authentication:
    """What a request to the token endpoint carries to authenticate the client."""

    form: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def authentication(
    provider: ProviderExport, secret: str | None, *, token_endpoint: str, now: datetime
) -> Authentication:
    """The client's authentication as the provider's settings want it.

    secret: the client secret, or the private key in PEM.
    Raises SignInFailed(token_exchange_failed) for a key that cannot sign.
    """
    client_id, oauth = provider.client_id, provider.oauth
    match provider.token_endpoint_auth_method:
        case "none":
            return Authentication({"client_id": client_id}, {})
        case "client_secret_basic":
            # RFC 6749 2.3.1: both are form-encoded first.
            pair = f"{quote(client_id, safe='')}:{quote(secret or '', safe='')}"
            return Authentication({}, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})
        case "client_secret_post":
            return Authentication({"client_id": client_id, "client_secret": secret or ""}, {})
        case "private_key_jwt":
            named = {"token_endpoint": token_endpoint, "issuer": provider.issuer}
            audience = named.get(oauth.client_assertion_audience, oauth.client_assertion_audience)
            claims: dict[str, str | int] = {
                "iss": client_id,
                "sub": client_id,
                "aud": audience,
                "jti": secrets.token_urlsafe(16),
                **_times(now, _ASSERTION_LIFE),
            }
            assertion = _signed(provider, secret, claims)
            form = {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
            return Authentication(form, {})
        case "apple_jwt":
            claims = {
                "iss": oauth.client_assertion_issuer or client_id,
                "sub": client_id,
                "aud": provider.issuer,
                **_times(now, _APPLE_LIFE),
            }
            return Authentication({"client_id": client_id, "client_secret": _signed(provider, secret, claims)}, {})


def _times(now: datetime, life: timedelta) -> dict[str, str | int]:
    issued = int(now.timestamp())
    return {"iat": issued, "exp": issued + int(life.total_seconds())}


def _signed(provider: ProviderExport, pem: str | None, claims: dict[str, str | int]) -> str:
    key: ECKey | RSAKey
    try:
        try:
            key, alg = ECKey.import_key(pem or ""), "ES256"
        except (JoseError, ValueError, TypeError):
            key, alg = RSAKey.import_key(pem or ""), "RS256"
        header = {"alg": alg, "typ": "JWT"} | (
            {"kid": provider.oauth.private_key_id} if provider.oauth.private_key_id else {}
        )
        return jwt.encode(header, claims, key, algorithms=[alg])
    except (JoseError, ValueError, TypeError) as error:
        raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, "the private key cannot sign") from error
