"""Requests to a provider's token endpoint and to the one for pushed requests: authenticated, bounded, each error named.

Spec: RFC 6749 4.1.3, 5; RFC 7636 4.5; RFC 9126 2; RFC 9449 5, 8.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from httpx2 import AsyncClient, HTTPError, Response, codes
from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_federation.connectors.client_authentication import authentication
from watchword_federation.connectors.proofs import Prover
from watchword_federation.failures import Failure, SignInFailed, failure_of
from watchword_federation.fetched import reason_of
from watchword_federation.metadata import Endpoints
from watchword_runtime.documents import UnusableDocument, parse_object
from watchword_runtime.outbound import BadAnswer

EXCHANGE_DEADLINE_S: Final = 15.0
_MAX_RESPONSE: Final = 128 * 1024
_NONCE_WANTED: Final = "use_dpop_nonce"
_KINDS: Final = frozenset({"bearer", "dpop"})
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MICROSOFT: Final = re.compile(r"\bAADSTS\d{4,8}\b")
_DESCRIPTION: Final = 2048
# What has a page of its own, wherever the provider says it.
_NAMED: Final = frozenset({Failure.INVALID_SCOPE, Failure.REDIRECT_URI_MISMATCH, Failure.INVALID_DPOP_PROOF})

Document = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave for the code. prover: of the key that the access token is bound to, if it is."""

    access_token: str = field(repr=False)
    document: Document = field(repr=False)
    prover: Prover | None = None

    async def show(
        self, client: AsyncClient, method: str, url: str, *, json: JsonValue = None, again: bool = False
    ) -> Response:
        """What a resource of the provider answers to the access token. Raises HTTPError, TimeoutError.

        again: the server was asked before; each one's nonce is its own.  Spec: RFC 6750 2.1; RFC 9449 7.1, 9.
        """
        prover = self.prover
        if prover is not None and not again:
            prover.nonce = None
        response = await client.request(method, url, json=json, headers=self._headers(method, url))
        if prover is not None and response.status_code == codes.UNAUTHORIZED and prover.learn(response):
            response = await client.request(method, url, json=json, headers=self._headers(method, url))
        return response

    def _headers(self, method: str, url: str) -> dict[str, str]:
        accepted = {"Accept": "application/json"}
        if self.prover is None:
            return {**accepted, "Authorization": f"Bearer {self.access_token}"}
        proof = self.prover.proof(method, url, access_token=self.access_token)
        return {**accepted, "Authorization": f"DPoP {self.access_token}", "DPoP": proof}


class TokenRequests:
    """Asks providers for tokens in the name of the client that Watchword is there."""

    def __init__(self, open_secret: Callable[[ProviderExport], str | None]) -> None:
        """open_secret: a provider's client secret, or its private key."""
        self._open_secret = open_secret

    async def redeem(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        code: str,
        *,
        verifier: str,
        callback: str,
        prover: Prover | None,
        now: datetime,
    ) -> Tokens:
        """The tokens for a code. Raises SignInFailed."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
        if provider.pkce:
            form["code_verifier"] = verifier
        answer = await self._post(client, provider, endpoints, endpoints.token_endpoint, form, prover=prover, now=now)
        return _tokens(answer, prover, is_binding_needed=provider.oauth.dpop == "required")

    async def ask(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        form: Mapping[str, str],
        *,
        now: datetime,
    ) -> Document:
        """What the token endpoint gives for any other grant, an access token among it. Raises SignInFailed.

        Spec: RFC 6749 5.1, 6; RFC 7523 2.1; RFC 8693 2.2.1.
        """
        answer = await self._post(client, provider, endpoints, endpoints.token_endpoint, form, prover=None, now=now)
        return _tokens(answer, None, is_binding_needed=False, kinds=_KINDS | {"n_a"}).document

    async def push(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        request: Mapping[str, str],
        *,
        now: datetime,
    ) -> str:
        """The `request_uri` behind which the provider keeps the request. Raises SignInFailed. Spec: RFC 9126 2.1."""
        url = endpoints.pushed_authorization_request_endpoint
        if url is None:
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, "the provider has no endpoint for pushed requests")
        answer = await self._post(client, provider, endpoints, url, request, prover=None, now=now)
        request_uri = answer.get("request_uri")
        if not isinstance(request_uri, str) or not 0 < len(request_uri) <= 1024 or not request_uri.isprintable():
            raise SignInFailed(Failure.PROVIDER_ERROR, "the pushed request has no request_uri")
        return request_uri

    async def _post(
        self,
        client: AsyncClient,
        provider: ProviderExport,
        endpoints: Endpoints,
        url: str,
        form: Mapping[str, str],
        *,
        prover: Prover | None,
        now: datetime,
    ) -> Document:
        """What the provider answers to a form of the client's."""
        secret = self._open_secret(provider)
        try:
            async with asyncio.timeout(EXCHANGE_DEADLINE_S):
                for is_last in (False, True):
                    shown = authentication(provider, secret, token_endpoint=endpoints.token_endpoint, now=now)
                    headers = {"Accept": "application/json", **shown.headers}
                    if prover is not None:
                        headers["DPoP"] = prover.proof("POST", url)
                    response = await client.post(url, data={**form, **shown.form}, headers=headers)
                    document = _document(response)
                    # RFC 9449 8: the proof is made once more with the nonce that the server now wants.
                    is_asked = prover is not None and prover.learn(response) and document.get("error") == _NONCE_WANTED
                    if is_last or not is_asked:
                        break
        except (HTTPError, TimeoutError, UnusableDocument) as error:
            raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, reason_of(error)) from error
        if "error" in document or not response.is_success:
            raise _refused(document, response)
        return document


def error_code(value: object) -> str:
    """An error code as it may stand in a log: what is no code could be anything."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else "unreadable error"


def _document(response: Response) -> Document:
    """The JSON object of an answer; an error without one is an object without members. Raises UnusableDocument."""
    if response.is_redirect:
        raise BadAnswer(f"answered {response.status_code}")
    try:
        return parse_object(response.content, max_bytes=_MAX_RESPONSE)
    except UnusableDocument:
        if response.is_success:
            raise
        return {}


def _refused(document: Document, response: Response) -> SignInFailed:
    code = document.get("error")
    failure = failure_of(code) if isinstance(code, str) else Failure.TOKEN_EXCHANGE_FAILED
    said = error_code(code) if code is not None else f"answered {response.status_code}"
    # Microsoft's own number says what to do; its words may name people.
    number = _MICROSOFT.search(str(document.get("error_description", ""))[:_DESCRIPTION])
    said += f" ({number[0]})" if number is not None else ""
    return SignInFailed(failure if failure in _NAMED else Failure.TOKEN_EXCHANGE_FAILED, f"token endpoint: {said}")


def _tokens(
    answer: Document, prover: Prover | None, *, is_binding_needed: bool, kinds: frozenset[str] = _KINDS
) -> Tokens:
    """The token response in types. Spec: RFC 6749 5.1; RFC 9449 5."""
    access_token, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if (
        not isinstance(access_token, str)
        or not access_token
        or not access_token.isascii()
        or not access_token.isprintable()
    ):
        raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, "no access token that a header can carry")
    if not isinstance(kind, str) or kind.lower() not in kinds:
        raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, "the access token is of a kind that is not understood")
    is_bound = kind.lower() == "dpop"
    if is_bound and prover is None:
        raise SignInFailed(Failure.TOKEN_EXCHANGE_FAILED, "the access token is bound to a key, without a proof")
    if is_binding_needed and not is_bound:
        raise SignInFailed(Failure.INVALID_DPOP_PROOF, "the access token is not bound to the proof's key")
    return Tokens(access_token, answer, prover if is_bound else None)
