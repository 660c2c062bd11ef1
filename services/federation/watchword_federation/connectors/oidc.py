"""OpenID Connect providers: authorization code with PKCE, nonce and state, every answer checked before it is used.

Spec: OpenID Connect Core 3.1.2.1, 3.1.3, 5.3.2; RFC 6749 4.1.3; RFC 7636 4.3, 4.5; RFC 9207 2.4.
"""

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from httpx2 import AsyncBaseTransport, AsyncClient, HTTPError, Response
from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_federation.connectors import Answer, Secrets, Wishes
from watchword_federation.documents import UnusableDocument, check_document, parse_object
from watchword_federation.failures import Failure, SignInFailed, failure_of
from watchword_federation.fetched import Fetched, reason_of
from watchword_federation.id_tokens import Expected, read_header, verify_id_token
from watchword_federation.identities import identity_of, merge_userinfo
from watchword_federation.keys import UpstreamKey, find_key, usable_keys
from watchword_federation.metadata import Endpoints, PlainHttp, discovery_url, endpoints_of
from watchword_federation.store import DocumentKind
from watchword_runtime.outbound import fetch_json

METADATA_LIFE: Final = timedelta(hours=1)
KEYS_LIFE: Final = timedelta(minutes=10)
# A token with an unknown kid may ask for the keys again, but at most this often per provider.
KEYS_AGAIN_AFTER: Final = timedelta(minutes=1)
EXCHANGE_DEADLINE_S: Final = 15.0
_MAX_TOKEN_RESPONSE: Final = 128 * 1024
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave for the code."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)


class OidcConnector:
    """The connector of every provider that speaks OpenID Connect."""

    def __init__(
        self,
        fetched: Fetched,
        *,
        client: AsyncClient,
        transport: AsyncBaseTransport,
        open_secret: Callable[[ProviderExport], str | None],
        plain_http: PlainHttp,
    ) -> None:
        """client, transport: guarded, of watchword_runtime.outbound.  open_secret: a provider's client secret."""
        self._fetched = fetched
        self._client = client
        self._transport = transport
        self._open_secret = open_secret
        self._plain_http = plain_http

    async def depart(
        self, provider: ProviderExport, wishes: Wishes, *, secrets: Secrets, state: str, callback: str
    ) -> str:
        """The provider's authorization endpoint with this sign-in's request. Raises SignInFailed.

        Spec: OpenID Connect Core 3.1.2.1; RFC 7636 4.3.
        """
        endpoints = await self._endpoints(provider)
        request: dict[str, str | int | None] = {
            "state": state,
            "nonce": secrets.nonce,
            "response_mode": "form_post" if provider.response_mode == "form_post" else None,
            "prompt": " ".join(wishes.prompt) or None,
            "max_age": wishes.max_age_s,
            "acr_values": " ".join(wishes.acr_values) or None,
            "login_hint": wishes.login_hint,
        }
        if provider.pkce:
            request["code_challenge"] = create_s256_code_challenge(secrets.verifier)
            request["code_challenge_method"] = "S256"
        return str(
            prepare_grant_uri(
                endpoints.authorization_endpoint,
                client_id=provider.client_id,
                response_type="code",
                redirect_uri=callback,
                # OpenID Connect Core 3.1.2.1: without `openid` the request is plain OAuth and proves nobody.
                scope=list(dict.fromkeys(("openid", *provider.scopes))),
                **{name: value for name, value in request.items() if value is not None},
            )
        )

    async def arrive(
        self,
        provider: ProviderExport,
        answer: Answer,
        *,
        secrets: Secrets,
        callback: str,
        max_age_s: int | None,
        now: datetime,
    ) -> VerifiedIdentity:
        """Whom the provider authenticated. The order is the security argument: nothing is sent before `iss` fits.

        Raises SignInFailed.
        """
        endpoints = await self._endpoints(provider)
        check_issuer(answer, endpoints)
        code = code_of(answer)
        tokens = await self._exchange(provider, endpoints, code, verifier=secrets.verifier, callback=callback)
        claims = verify_id_token(
            tokens.id_token,
            await self._key_for(provider, endpoints, tokens.id_token),
            expected=Expected(endpoints.issuer, provider.client_id, secrets.nonce, max_age_s),
            access_token=tokens.access_token,
            now=now,
        )
        userinfo = await self._userinfo(provider, endpoints, tokens.access_token, subject=str(claims["sub"]))
        return identity_of(provider.id, merge_userinfo(claims, userinfo), now)

    async def _endpoints(self, provider: ProviderExport) -> Endpoints:
        def check(document: dict[str, JsonValue] | None) -> Endpoints:
            return endpoints_of(provider, document, plain_http=self._plain_http)

        url = discovery_url(provider)
        try:
            if url is None:
                return check(None)
            document = await self._fetched.get(
                provider.id, DocumentKind.METADATA, url, max_age=METADATA_LIFE, check=check
            )
            return check(document)
        except ValueError as error:
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, f"metadata: {error}") from error

    async def _key_for(self, provider: ProviderExport, endpoints: Endpoints, id_token: str) -> UpstreamKey:
        """The provider's key for this token, asking for the keys again when the kid is new."""
        header = read_header(id_token)
        for max_age in (KEYS_LIFE, KEYS_AGAIN_AFTER):
            document = await self._fetched.get(
                provider.id, DocumentKind.KEYS, endpoints.jwks_uri, max_age=max_age, check=usable_keys
            )
            key = find_key(usable_keys(document), kid=header.kid, alg=header.alg)
            if key is not None:
                return key
        raise SignInFailed(Failure.ID_TOKEN_INVALID, "no key of the provider fits kid and alg")

    async def _exchange(
        self, provider: ProviderExport, endpoints: Endpoints, code: str, *, verifier: str, callback: str
    ) -> Tokens:
        """The tokens for a code. Spec: RFC 6749 4.1.3; RFC 7636 4.5."""
        client = AsyncOAuth2Client(
            provider.client_id,
            self._open_secret(provider),
            token_endpoint_auth_method=provider.token_endpoint_auth_method,
            # Shared and guarded; this client is never closed, or it would close the pool of all.
            transport=self._transport,
            trust_env=False,
            follow_redirects=False,
        )
        client.register_client_auth_method(("client_secret_basic", _basic))
        client.register_compliance_hook("access_token_response", _checked)
        extra = {"code_verifier": verifier} if provider.pkce else {}
        try:
            async with asyncio.timeout(EXCHANGE_DEADLINE_S):
                answer: object = await client.fetch_token(
                    endpoints.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    redirect_uri=callback,
                    **extra,
                )
        except AuthlibBaseError as error:
            named = {Failure.INVALID_SCOPE, Failure.REDIRECT_URI_MISMATCH} & {failure_of(str(error.error))}
            failure = named.pop() if named else Failure.TOKEN_EXCHANGE_FAILED
            raise SignInFailed(failure, f"token endpoint: {_error_code(error.error)}") from error
        # TypeError and OverflowError: Authlib computes with whatever stands in `expires_in`.
        except (HTTPError, TimeoutError, ValueError, TypeError, OverflowError) as error:
            raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, reason_of(error)) from error
        return _tokens(answer)

    async def _userinfo(
        self, provider: ProviderExport, endpoints: Endpoints, access_token: str, *, subject: str
    ) -> dict[str, JsonValue]:
        """What the userinfo endpoint says about the same person; nothing where it is not to be asked.

        Spec: OpenID Connect Core 5.3.2.
        """
        if provider.userinfo == "never":
            return {}
        if endpoints.userinfo_endpoint is None:
            if provider.userinfo == "required":
                raise SignInFailed(Failure.USERINFO_FAILED, "required, but there is no userinfo endpoint")
            return {}
        try:
            document = await fetch_json(
                self._client, endpoints.userinfo_endpoint, {"Authorization": f"Bearer {access_token}"}
            )
            check_document(document)
        except (HTTPError, TimeoutError, UnusableDocument) as error:
            raise SignInFailed(Failure.USERINFO_FAILED, reason_of(error)) from error
        # OpenID Connect Core 5.3.2: without an equal sub the answer may be about another person (token substitution).
        if document.get("sub") != subject:
            raise SignInFailed(Failure.USERINFO_FAILED, "sub is not the one of the ID token")
        return document


def check_issuer(answer: Answer, endpoints: Endpoints) -> None:
    """The answer names the issuer that was asked, or the provider never promised to. Raises SignInFailed.

    Spec: RFC 9207 2.4.
    """
    if answer.issuer is None:
        if endpoints.sends_issuer:
            raise SignInFailed(Failure.ISSUER_MISMATCH, "iss is missing although the provider sends it")
    elif answer.issuer != endpoints.issuer:
        raise SignInFailed(Failure.ISSUER_MISMATCH, "iss of the authorization response")


def code_of(answer: Answer) -> str:
    """The authorization code. Raises SignInFailed named after the provider's error, or when there is neither."""
    if answer.error is not None:
        raise SignInFailed(failure_of(answer.error), f"authorization endpoint: {_error_code(answer.error)}")
    if answer.code is None:
        raise SignInFailed(Failure.PROVIDER_ERROR, "neither code nor error")
    return answer.code


def _tokens(answer: object) -> Tokens:
    """The token response in types. Spec: OpenID Connect Core 3.1.3.3."""
    found = answer if isinstance(answer, dict) else {}
    access_token, id_token = found.get("access_token"), found.get("id_token")
    if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
        raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, "no usable access_token")
    if not isinstance(id_token, str) or not id_token:
        raise SignInFailed(Failure.ID_TOKEN_MISSING, "no id_token")
    return Tokens(access_token, id_token)


def _checked(response: Response) -> Response:
    """The token response without what would overflow Authlib, which parses it next. Raises UnusableDocument."""
    parse_object(response.content, max_bytes=_MAX_TOKEN_RESPONSE)
    return response


def _basic(client: Any, _method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
    """Client authentication by HTTP Basic, form-encoded first, which Authlib leaves out. Spec: RFC 6749 2.3.1."""
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret or '', safe='')}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return uri, headers, body


def _error_code(value: object) -> str:
    """An error code as it may stand in a log: what is no code could be anything."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else "unreadable error"
