"""A relying party and the sign-in at it, as a person with a browser goes through it."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx2

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser, note_secrets
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.pages import Page

REDIRECT_URI = "https://app.example/callback"


@dataclass
class Party:
    """A registered client, seen from its own side. client_secret: None for a public one.

    position: what its requests demand to have been seen (`Watchword-Position`).
    """

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str = REDIRECT_URI
    method: str = "client_secret_basic"
    canaries: tuple[Canary, ...] = ()
    position: str = ""

    @classmethod
    async def registered(cls, api: Api, issuer: str, *canaries: Canary, **metadata: object) -> "Party":
        """A new client with sensible metadata, overridden by `metadata` (names of RFC 7591 and ours)."""
        wanted: dict[str, object] = {
            "client_name": f"Application {secrets.token_hex(3)}",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid profile email offline_access",
            "require_consent": False,
            **metadata,
        }
        made = await api.create("/clients", **wanted)
        secret = made.get("client_secret")
        uris = wanted["redirect_uris"]
        return cls(
            issuer,
            str(made["client_id"]),
            None if secret is None else str(secret),
            str(uris[0]) if isinstance(uris, list) and uris else REDIRECT_URI,
            str(made.get("token_endpoint_auth_method", "client_secret_basic")),
            canaries,
        )

    async def ask(self, path: str, **form: str) -> httpx2.Response:
        """The answer of `/oauth2/<path>` to a form, authenticated as the client is registered."""
        sent = dict(form)
        headers = {"Watchword-Position": self.position} if self.position else {}
        if self.client_secret is None or self.method == "none":
            sent.setdefault("client_id", self.client_id)
        elif self.method == "client_secret_post":
            sent |= {"client_id": self.client_id, "client_secret": self.client_secret}
        else:
            login = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        async with http_client(timeout=20.0) as http:
            answer = await http.post(f"{self.issuer}/oauth2/{path}", data=sent, headers=headers)
        if answer.headers.get("content-type", "").startswith("application/json"):
            for canary in self.canaries:
                note_secrets(canary, answer.json())
                note_secrets(canary, sent)
        return answer

    async def tokens(self, **form: str) -> dict[str, str]:
        """The token endpoint's answer. Raises AssertionError when it refuses."""
        answer = await self.ask("token", **form)
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return dict(answer.json())

    async def introspect(self, token: str) -> dict[str, object]:
        """What introspection says about a token."""
        answer = await self.ask("introspect", token=token)
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return dict(answer.json())

    async def userinfo(self, token: str) -> httpx2.Response:
        """The answer of userinfo."""
        async with http_client(timeout=20.0) as http:
            return await http.get(f"{self.issuer}/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"})


@dataclass
class SignIn:
    """One sign-in at a party: `await SignIn(browser, party).with_password("alice", "…")` brings the tokens.

    params: override or add authorization parameters; the value "" leaves one out.
    """

    browser: Browser
    party: Party
    scope: str = "openid profile email"
    params: Mapping[str, str] = field(default_factory=dict)
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the authorization request."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.party.client_id,
            "redirect_uri": self.party.redirect_uri,
            "scope": self.scope,
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **self.params,
        }
        return {name: value for name, value in query.items() if value}

    @property
    def url(self) -> str:
        """The authorization request."""
        return f"{self.party.issuer}/oauth2/authorize?{urlencode(self.query)}"

    async def start(self) -> Page:
        """The first page that the person sees, or the redirect to the application."""
        return await self.browser.open(self.url)

    async def enter(self, username: str, password: str) -> Page:
        """The page after the login form was sent."""
        return await self.browser.submit("username", "sign-in", username=username, password=password)

    async def decide(self, decision: str = "allow") -> Page:
        """The page after the consent question, if it is asked; else the present one."""
        page = self.browser.page
        return await self.browser.submit("decision", decision) if page.has("allow") else page

    def outcome(self) -> dict[str, str]:
        """The parameters with which the browser came back to the application, wherever they stand.

        Raises AssertionError when it is elsewhere.
        """
        page = self.browser.page
        posted = next((form for form in page.forms if form.action == self.party.redirect_uri), None)
        if posted is not None:
            return posted.fields
        came = page.location or page.url
        assert came.startswith(self.party.redirect_uri), f"at {came} ({page.status}) {page.error_code} {page.texts}"
        parts = urlsplit(came)
        return {name: values[0] for name, values in parse_qs(parts.fragment or parts.query).items()}

    async def code(self) -> str:
        """The code; state and issuer were checked as RFC 9207 wants."""
        came = self.outcome()
        assert "code" in came, f"refused: {came}"
        assert came["state"] == self.state
        assert came["iss"] == self.party.issuer
        return came["code"]

    async def redeem(self) -> dict[str, str]:
        """The tokens for the code with which the browser came back."""
        return await self.party.tokens(
            grant_type="authorization_code",
            code=await self.code(),
            redirect_uri=self.party.redirect_uri,
            code_verifier=self.verifier,
        )

    async def with_password(self, username: str, password: str) -> dict[str, str]:
        """The tokens, from the first click to the token endpoint; a consent question is answered with yes."""
        page = await self.start()
        if page.has("username"):
            await self.enter(username, password)
        await self.decide()
        return await self.redeem()

    async def through(self, provider_id: str, **upstream: str) -> dict[str, str]:
        """The tokens, through an upstream provider whose login form takes `upstream`."""
        await self.start()
        page = await self.browser.click_soon(f"provider-{provider_id}")
        assert page.location, f"no redirect to the provider: {page.status} {page.error_code}"
        await self.browser.open(page.location)
        await self.browser.submit(next(iter(upstream)), **upstream)
        await self.decide()
        return await self.redeem()
