"""How a terminal gets tokens: by a browser here or elsewhere, for the client itself, or for another token."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx2

from watchword.loopback import Loopback, is_safe
from watchword.token_file import Tokens
from watchword_federation.failures import SignInFailed
from watchword_federation.id_tokens import Expected, read_header, verify_id_token
from watchword_runtime.public_keys import UnusableKeys, find_key, usable_keys

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:"
PATIENCE_S: Final = 300.0
SLOWER_S: Final = 5  # RFC 8628 3.5
LEEWAY_S: Final = 30  # a token that ends before it arrives is of no use


class LoginError(Exception):
    """There are no tokens. The message is for who typed the command."""


@dataclass(frozen=True)
class Account:
    """A client at a provider. client_secret: None for a public one."""

    issuer: str
    client_id: str
    client_secret: str | None
    scope: str


class Provider:
    """One provider, by its own description."""

    def __init__(self, http: httpx2.Client, account: Account, show: Callable[[str], None]) -> None:
        """show: tells the person at the terminal what to do.

        Raises LoginError. Spec: OpenID Connect Discovery 4.3.
        """
        self._http, self._account, self._show = http, account, show
        issuer = account.issuer
        if not is_safe(issuer):
            raise LoginError(f"{issuer} is no https address")
        said = self._read("GET", f"{issuer}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise LoginError(f"{issuer} says that it is {said.get('issuer')}: give that address")
        self._endpoints = said

    def by_browser(self, loopback: Loopback, open_browser: Callable[[str], object]) -> Tokens:
        """By a browser on this machine. Raises LoginError. Spec: RFC 8252 4.1, 7.3; RFC 7636 4.1; RFC 9207 2.4."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {"response_type": "code", "code_challenge": challenge, "code_challenge_method": "S256"}
        given = self._answered("code", loopback, open_browser, asked)
        form = {"code": given["code"], "redirect_uri": loopback.redirect_uri, "code_verifier": verifier}
        return self._tokens({"grant_type": "authorization_code", **form})

    def by_id_token(self, loopback: Loopback, open_browser: Callable[[str], object]) -> Tokens:
        """By a browser on this machine, for a client that gets an ID token and nothing else; posted, so that neither
        a history nor a log holds it. Raises LoginError.

        Spec: OpenID Connect Core 3.2.2.1, 3.2.2.11; OAuth 2.0 Form Post Response Mode 2.
        """
        nonce = secrets.token_urlsafe(32)
        asked = {"response_type": "id_token", "response_mode": "form_post", "nonce": nonce}
        token = self._answered("id_token", loopback, open_browser, asked)["id_token"]
        return {"id_token": token, "expires_at": self._verified(token, nonce)["exp"]}

    def _answered(
        self, member: str, loopback: Loopback, open_browser: Callable[[str], object], asked: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The authorization response, which has the member. Raises LoginError. Spec: RFC 9207 2.4."""
        account, state = self._account, secrets.token_urlsafe(32)
        common = {"client_id": account.client_id, "redirect_uri": loopback.redirect_uri, "scope": account.scope}
        url = f"{self._endpoint('authorization_endpoint')}?{urlencode({**common, 'state': state, **asked})}"
        self._show(f"Open {url}")
        open_browser(url)
        given = loopback.response(lambda found: secrets.compare_digest(found.get("state", ""), state), PATIENCE_S)
        if given is None:
            raise LoginError("nobody signed in within five minutes")
        if given.get("iss", account.issuer) != account.issuer:
            raise LoginError("another provider answered")
        if member not in given:
            raise LoginError(_reason(given))
        return given

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token for this sign-in. Raises LoginError. Spec: OpenID Connect Core 3.2.2.11."""
        expected = Expected(self._account.issuer, self._account.client_id, nonce)
        try:
            header = read_header(token)
            keys = usable_keys(self._read("GET", self._endpoint("jwks_uri")))
            key = find_key(keys, kid=header.kid, alg=header.alg)
            if key is None:
                raise LoginError("the provider does not know the key of the ID token")
            return verify_id_token(token, key, expected=expected, access_token=None, now=datetime.now(UTC))
        except SignInFailed as error:
            raise LoginError(f"the ID token is not good: {error.reason}") from None
        except UnusableKeys as error:
            raise LoginError(f"the provider's keys are not good: {error}") from None

    def by_device(self, wait: Callable[[float], None] = time.sleep) -> Tokens:
        """By a browser elsewhere. Raises LoginError. Spec: RFC 8628 3.1, 3.3, 3.5."""
        codes = self._answer(self._endpoint("device_authorization_endpoint"), {"scope": self._account.scope})
        if "error" in codes:
            raise LoginError(_reason(codes))
        try:
            where, code, until = codes["verification_uri"], codes["user_code"], float(codes["expires_in"])
            interval = float(codes.get("interval", SLOWER_S))
        except (KeyError, TypeError, ValueError):
            raise LoginError("the answer holds no code for a device") from None
        self._show(_printable(f"Open {where} and enter {code}"))
        until += time.monotonic()
        while time.monotonic() < until:
            wait(interval)
            said = self._answer(
                self._endpoint("token_endpoint"),
                {"grant_type": DEVICE_CODE, "device_code": str(codes.get("device_code"))},
            )
            if said.get("error") == "slow_down":
                interval += SLOWER_S
            elif said.get("error") != "authorization_pending":
                return _kept(said)
        raise LoginError("the code was not used in time")

    def by_itself(self) -> Tokens:
        """For the client, nobody signs in. Raises LoginError. Spec: RFC 6749 4.4."""
        return self._tokens({"grant_type": "client_credentials", "scope": self._account.scope})

    def again(self, refresh_token: str) -> Tokens:
        """Newer ones. Raises LoginError. Spec: RFC 6749 6."""
        found = self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})
        return {"refresh_token": refresh_token, **found}

    def for_token(self, token: str, kind: str, *, audience: str | None, at: str | None = None) -> Tokens:
        """For another token, here or at another gateway's token endpoint. Raises LoginError. Spec: RFC 8693 2.1."""
        form = {"subject_token": token, "subject_token_type": f"{TOKEN_TYPE}{kind}"}
        if audience:
            form["audience"] = audience
        form["grant_type"] = TOKEN_EXCHANGE
        if at is None:
            return self._tokens(form)
        if not is_safe(at):
            raise LoginError(f"{at} is no https address")
        # The client's secret is between it and its own provider.
        return _kept(self._read("POST", at, {**form, "client_id": self._account.client_id}))

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        return _kept(self._answer(self._endpoint("token_endpoint"), form))

    def _answer(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """What the provider says to the client, a refusal as well. Spec: RFC 6749 2.3.1."""
        account = self._account
        if account.client_secret is None:
            return self._read("POST", url, {**form, "client_id": account.client_id})
        login = f"{quote(account.client_id, safe='')}:{quote(account.client_secret, safe='')}"
        basic = base64.b64encode(login.encode()).decode()
        return self._read("POST", url, form, {"Authorization": f"Basic {basic}"})

    def _endpoint(self, name: str) -> str:
        found = self._endpoints.get(name)
        if not isinstance(found, str) or not is_safe(found):
            raise LoginError(f"{self._account.issuer} has no {name}")
        return found

    def _read(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, url, data=form, headers=headers)
            said = answer.json()
        except httpx2.HTTPError as error:
            raise LoginError(f"{url} does not answer: {type(error).__name__}") from None
        except ValueError:
            raise LoginError(f"{url} does not speak OAuth ({answer.status_code})") from None
        if not isinstance(said, dict) or (not answer.is_success and "error" not in said):
            raise LoginError(f"{url} does not speak OAuth ({answer.status_code})")
        return said


def is_fresh(tokens: Tokens) -> bool:
    """Whether its access token can still be used."""
    until = tokens.get("expires_at")
    return isinstance(until, int | float) and until > time.time() + LEEWAY_S


def claims_of(token: str) -> dict[str, Any]:
    """What a JWT says, to be shown; nothing is verified. Raises LoginError."""
    try:
        header, body, _ = token.split(".")
        parts = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, body)]
    except ValueError:
        raise LoginError("the token cannot be read by anybody but its issuer") from None
    return {"header": parts[0], "payload": parts[1]}


def _kept(said: Mapping[str, Any]) -> Tokens:
    """What of an answer is kept. Raises LoginError for a refusal. Spec: RFC 6749 5.1, 5.2."""
    if "error" in said:
        raise LoginError(_reason(said))
    if not isinstance(said.get("access_token"), str):
        raise LoginError("the answer holds no access token")
    kept: Tokens = {name: said[name] for name in ("access_token", "refresh_token", "id_token", "scope") if name in said}
    lifetime = said.get("expires_in", 0)
    return {**kept, "expires_at": time.time() + (lifetime if isinstance(lifetime, int | float) else 0)}


def _reason(said: Mapping[str, Any]) -> str:
    text = ": ".join(str(said[name]) for name in ("error", "error_description") if said.get(name)) or "refused"
    return _printable(text)


def _printable(text: str) -> str:
    """One line, whatever it holds: it comes from elsewhere and goes to a terminal."""
    return "".join(letter for letter in text[:500] if letter.isprintable())
