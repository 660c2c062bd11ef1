"""OpenID Connect providers: authorization code with PKCE, nonce and state, every answer checked before it is used.

Spec: OpenID Connect Core 3.1.2.1, 3.1.3, 5.3.2; RFC 7636 4.3, 4.5; RFC 9126 4; RFC 9207 2.4; RFC 9449 5.
"""

from datetime import datetime, timedelta
from typing import Final

from httpx2 import AsyncClient
from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_federation.attempts import Trail
from watchword_federation.claim_paths import renamed
from watchword_federation.connectors import Answer, Arrived, Granted, ProviderSession, Secrets, Wishes
from watchword_federation.connectors.proofs import Prover
from watchword_federation.connectors.requests import (
    address_of,
    check_issuer,
    check_required,
    code_of,
    names_in,
    request_of,
    userinfo,
)
from watchword_federation.connectors.token_requests import TokenRequests, Tokens
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.fetched import Fetched
from watchword_federation.id_tokens import Expected, named, read_header, verify_id_token
from watchword_federation.identities import identity_of, is_subject, merge_userinfo
from watchword_federation.lookups import with_groups
from watchword_federation.metadata import Endpoints, PlainHttp, discovery_url, endpoints_of
from watchword_federation.store import DocumentKind
from watchword_runtime.foreign_jwts import Header
from watchword_runtime.public_keys import PublicKey, find_key, usable_keys

METADATA_LIFE: Final = timedelta(hours=1)
KEYS_LIFE: Final = timedelta(minutes=10)
# A token with an unknown kid may ask for the keys again, but at most this often per provider.
KEYS_AGAIN_AFTER: Final = timedelta(minutes=1)

Claims = dict[str, JsonValue]


class OidcConnector:
    """The connector of every provider that speaks OpenID Connect."""

    def __init__(
        self, fetched: Fetched, ways: Ways, requests: TokenRequests, *, plain_http: PlainHttp, public_url: str
    ) -> None:
        self._fetched = fetched
        self._ways = ways
        self._requests = requests
        self._plain_http = plain_http
        self._public_url = public_url

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str, trail: Trail
    ) -> str:
        """The provider's authorization endpoint with this sign-in's request. Raises SignInFailed.

        Spec: OpenID Connect Core 3.1.2.1; RFC 9126 4.
        """
        endpoints = await self.endpoints(provider)
        trail.step("metadata", f"authorization endpoint {endpoints.authorization_endpoint}")
        # OpenID Connect Core 3.1.2.1: without `openid` the request is plain OAuth and proves nobody.
        scopes = tuple(dict.fromkeys(("openid", *provider.scopes)))
        request = request_of(provider, wishes, secrets=secrets, state=state, callback=callback, scopes=scopes)
        if provider.oauth.nonce != "off":
            request["nonce"] = secrets.nonce
        par = provider.oauth.par
        if par == "required" or (par == "auto" and endpoints.wants_pushed):
            client = await self._ways.to(provider)
            pushed = await self._requests.push(client, provider, endpoints, request, now=self._fetched.now())
            trail.step("pushed request", f"kept at {endpoints.pushed_authorization_request_endpoint}")
            request = {"client_id": provider.client_id, "request_uri": pushed}
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
        """Whom the provider authenticated. The order is the security argument: nothing is sent before `iss` fits.

        Raises SignInFailed.
        """
        endpoints = await self.endpoints(provider)
        trail.step("metadata", f"issuer {endpoints.issuer}")
        check_issuer(provider, answer, endpoints)
        code = code_of(answer)
        trail.step("answer", "a code")
        client, prover = await self._ways.to(provider), prover_of(provider, endpoints, now)
        tokens = await self._requests.redeem(
            client, provider, endpoints, code, verifier=secrets.verifier, callback=callback, prover=prover, now=now
        )
        bound = "bearer" if tokens.prover is None else "bound by DPoP"
        trail.step("exchange", f"tokens from {endpoints.token_endpoint}, {bound}")
        id_token = _id_token(tokens)
        claims = verify_id_token(
            id_token,
            await self.key_for(provider, endpoints, read_header(id_token)),
            expected=expected_of(provider, endpoints, secrets.nonce, max_age_s),
            access_token=tokens.access_token,
            now=now,
        )
        trail.step("id_token", f"verified; claims {', '.join(sorted(claims))}")
        more = await self._userinfo(client, provider, endpoints, tokens, subject=str(claims["sub"]))
        trail.step("userinfo", f"claims {', '.join(sorted(more))}" if more else "not asked")
        if provider.token_endpoint_auth_method == "apple_jwt":
            more |= names_in(answer)
        return await self._arrived(client, provider, endpoints, tokens, claims, more, now=now, trail=trail)

    async def _arrived(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        tokens: Tokens,
        claims: Claims,
        more: Claims,
        *,
        now: datetime,
        trail: Trail,
    ) -> Arrived:
        """The identity that verified claims and userinfo make, and the session at the provider."""
        names = provider.oauth.claims
        merged = merge_userinfo(renamed(claims, names), renamed(more, names))
        if not is_subject(merged.get("sub")):  # which may be another claim than the one that was looked at
            raise SignInFailed(Failure.ACCOUNT_NOT_FOUND, f"no usable claim {names.get('sub')}")
        if merged["iss"] in provider.oauth.issuer_aliases:
            merged["iss"] = provider.issuer  # the same person, however the provider spells itself
        check_required(provider, merged)
        merged = await with_groups(client, provider, merged, tokens)
        trail.step("groups", f"claim {provider.groups_claim}" if provider.groups_claim else "not asked")
        identity = identity_of(provider.id, merged, now, email_trust=provider.oauth.email_trust)
        subject = named(str(claims["sub"]), claims, expected_of(provider, endpoints))
        return Arrived(
            identity,
            session=_session(provider, endpoints, claims, subject, _id_token(tokens)),
            granted=Granted(subject, tokens.document) if provider.oauth.keep_tokens else None,
        )

    async def log_out(self, provider: ProviderExport, kept: bytes, *, state: str, now: datetime) -> str | None:
        """The provider's end of session, with the ID token that this session began with. Raises SignInFailed.

        Spec: OpenID Connect RP-Initiated Logout 2.
        """
        endpoints = await self.endpoints(provider)
        if endpoints.end_session_endpoint is None or not provider.oauth.single_logout:
            return None
        request = {
            "client_id": provider.client_id,
            provider.oauth.logout_redirect_parameter: logout_return(self._public_url, provider.id),
            "state": state,
        }
        if provider.oauth.logout_redirect_parameter == "post_logout_redirect_uri":
            request["id_token_hint"] = kept.decode()
        return address_of(endpoints.end_session_endpoint, request)

    async def endpoints(self, provider: ProviderExport, *, max_age: timedelta = METADATA_LIFE) -> Endpoints:
        """Where the provider is spoken to, as the settings and its document say, read at most `max_age` ago.

        Raises SignInFailed.
        """

        def check(document: Claims | None) -> Endpoints:
            return endpoints_of(provider, document, plain_http=self._plain_http)

        url = discovery_url(provider)
        try:
            if url is None:
                return check(None)
            document = await self._fetched.get(
                provider,
                DocumentKind.METADATA,
                url,
                max_age=max_age,
                check=check,
                client=await self._ways.to(provider),
            )
            return check(document)
        except ValueError as error:
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, f"metadata: {error}") from error

    async def keys(self, provider: ProviderExport, endpoints: Endpoints, max_age: timedelta) -> tuple[PublicKey, ...]:
        """The provider's keys that may be used, read at most `max_age` ago. Raises SignInFailed."""
        document = await self._fetched.get(
            provider,
            DocumentKind.KEYS,
            endpoints.jwks_uri,
            max_age=max_age,
            check=usable_keys,
            client=await self._ways.to(provider),
        )
        return usable_keys(document)

    async def key_for(self, provider: ProviderExport, endpoints: Endpoints, header: Header) -> PublicKey:
        """The provider's key for a token, asking for the keys again when the kid is new. Raises SignInFailed."""
        for max_age in (KEYS_LIFE, KEYS_AGAIN_AFTER):
            key = find_key(await self.keys(provider, endpoints, max_age), kid=header.kid, alg=header.alg)
            if key is not None:
                return key
        raise SignInFailed(Failure.ID_TOKEN_INVALID, "no key of the provider fits kid and alg")

    async def _userinfo(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        tokens: Tokens,
        *,
        subject: str,
    ) -> Claims:
        """What the userinfo endpoint says about the same person; nothing where it is not to be asked.

        Spec: OpenID Connect Core 5.3.2.
        """
        if provider.userinfo == "never":
            return {}
        if endpoints.userinfo_endpoint is None:
            if provider.userinfo == "required":
                raise SignInFailed(Failure.USERINFO_FAILED, "required, but there is no userinfo endpoint")
            return {}
        document = await userinfo(client, endpoints.userinfo_endpoint, tokens)
        # OpenID Connect Core 5.3.2: without an equal sub the answer may be about another person (token substitution).
        if document.get("sub") != subject:
            raise SignInFailed(Failure.USERINFO_FAILED, "sub is not the one of the ID token")
        return document


def logout_return(public_url: str, provider_id: str) -> str:
    """Where a provider sends people back to after it has signed them out; registered there, letter by letter."""
    return f"{public_url}/api/auth/sso/logout/{provider_id}/done"


def prover_of(provider: ProviderExport, endpoints: Endpoints, now: datetime) -> Prover | None:
    """Who makes proofs with a key of this sign-in's own, where the settings or the provider want them."""
    policy = provider.oauth.dpop
    if provider.oauth.keep_tokens:
        return None  # an application could not use what is bound to a key that is gone after the sign-in
    return Prover(now) if policy == "required" or (policy == "auto" and endpoints.takes_proofs) else None


def _id_token(tokens: Tokens) -> str:
    """Spec: OpenID Connect Core 3.1.3.3."""
    id_token = tokens.document.get("id_token")
    if not isinstance(id_token, str) or not id_token:
        raise SignInFailed(Failure.ID_TOKEN_MISSING, "no id_token")
    return id_token


def expected_of(
    provider: ProviderExport, endpoints: Endpoints, nonce: str = "", max_age_s: int | None = None
) -> Expected:
    """What a token of the provider has to say."""
    oauth = provider.oauth
    return Expected(
        issuer=endpoints.issuer,
        client_id=provider.client_id,
        nonce=nonce,
        max_age_s=max_age_s,
        aliases=oauth.issuer_aliases,
        pattern=oauth.issuer_template if endpoints.is_pattern else None,
        pattern_claim=oauth.issuer_claim,
        nonce_policy=oauth.nonce,
        skew_s=oauth.clock_skew_s,
    )


def _session(
    provider: ProviderExport, endpoints: Endpoints, claims: Claims, subject: str, id_token: str
) -> ProviderSession | None:
    """The session at the provider, where one can end with the other."""
    if not provider.oauth.single_logout or not endpoints.logs_out:
        return None
    sid = claims.get("sid")
    session = named(sid, claims, expected_of(provider, endpoints)) if isinstance(sid, str) and sid else None
    return ProviderSession(subject, session, id_token.encode())
