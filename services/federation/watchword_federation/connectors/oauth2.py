"""Providers that speak OAuth 2.0 alone: whom they authenticated is what their user endpoint says of the token.

Nothing is signed here: the answer is believed because it came over TLS from the address that the settings name, for a
token that this very sign-in's code, state and PKCE verifier brought. Spec: RFC 6749 4.1; RFC 7636 4.5; RFC 9700 2.1.1.
"""

from datetime import datetime

from watchword_events.exports import ProviderExport
from watchword_federation.attempts import Trail
from watchword_federation.claim_paths import renamed
from watchword_federation.connectors import Answer, Arrived, Granted, Secrets, Wishes
from watchword_federation.connectors.requests import (
    address_of,
    check_issuer,
    check_required,
    code_of,
    request_of,
    userinfo,
)
from watchword_federation.connectors.token_requests import TokenRequests
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.identities import identity_of, is_subject
from watchword_federation.lookups import with_addresses, with_groups
from watchword_federation.metadata import Endpoints, PlainHttp, is_allowed_url


class OAuth2Connector:
    """The connector of every provider without ID tokens."""

    def __init__(self, ways: Ways, requests: TokenRequests, *, plain_http: PlainHttp) -> None:
        self._ways = ways
        self._requests = requests
        self._plain_http = plain_http

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str, trail: Trail
    ) -> str:
        """The provider's authorization endpoint with this sign-in's request. Raises SignInFailed."""
        if wishes.max_age_s is not None:
            raise SignInFailed(Failure.ACCESS_DENIED, "max_age was asked for, which such a provider cannot prove")
        endpoints = self.endpoints(provider)
        trail.step("settings", f"authorization endpoint {endpoints.authorization_endpoint}")
        request = request_of(provider, wishes, secrets=secrets, state=state, callback=callback, scopes=provider.scopes)
        return address_of(endpoints.authorization_endpoint, request)

    async def arrive(
        self,
        provider: ProviderExport,
        answer: Answer,
        *,
        secrets: Secrets,
        callback: str,
        max_age_s: int | None,
        now: datetime,
        trail: Trail,
    ) -> Arrived:
        """Whom the provider says that the token belongs to. Raises SignInFailed."""
        endpoints = self.endpoints(provider)
        check_issuer(provider, answer, endpoints)
        code = code_of(answer)
        trail.step("answer", "a code")
        client = await self._ways.to(provider)
        tokens = await self._requests.redeem(
            client, provider, endpoints, code, verifier=secrets.verifier, callback=callback, prover=None, now=now
        )
        trail.step("exchange", f"a token from {endpoints.token_endpoint}")
        said = await userinfo(client, endpoints.userinfo_endpoint or "", tokens)
        trail.step("userinfo", f"claims {', '.join(sorted(said))}")
        claims = renamed(said, provider.oauth.claims)
        subject = claims.get("sub")
        if not is_subject(subject):
            raise SignInFailed(Failure.ACCOUNT_NOT_FOUND, f"no usable {provider.oauth.claims.get('sub', 'sub')}")
        check_required(provider, claims)
        if provider.oauth.emails is not None:
            claims = await with_addresses(client, provider.oauth.emails, claims, tokens)
            trail.step("emails", "an address" if "email" in claims else "none that counts")
        claims = await with_groups(client, provider, claims, tokens)
        if provider.oauth.group_lookups:
            trail.step("groups", "asked for where the scopes allow it")
        # When the person signed in there is not told: what is known is that they did before now.
        claims = {name: value for name, value in claims.items() if name not in {"auth_time", "amr", "acr"}}
        claims |= {"iss": provider.issuer, "iat": int(now.timestamp())}
        identity = identity_of(provider.id, claims, now, email_trust=provider.oauth.email_trust)
        return Arrived(identity, granted=Granted(subject, tokens.document) if provider.oauth.keep_tokens else None)

    async def log_out(self, provider: ProviderExport, kept: bytes, *, state: str, now: datetime) -> str | None:
        """Nowhere: OAuth 2.0 knows no sessions."""
        return None

    def endpoints(self, provider: ProviderExport) -> Endpoints:
        """The endpoints that the settings name. Raises SignInFailed for one that may not be used."""
        found = (provider.authorization_endpoint, provider.token_endpoint, provider.userinfo_endpoint)
        if not all(is_allowed_url(each, self._plain_http) for each in found):
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, "an endpoint is missing, or not a URL that may be used")
        return Endpoints(
            issuer=provider.issuer,
            authorization_endpoint=str(provider.authorization_endpoint),
            token_endpoint=str(provider.token_endpoint),
            userinfo_endpoint=provider.userinfo_endpoint,
        )
