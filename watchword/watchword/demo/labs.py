"""Demo Labs' identity provider: pysaml2 with its two people.

Like a company's it knows the person at the desk from the morning's sign-in, Erin, and asks only when Watchword wants a
new one (`ForceAuthn`), or after that person was signed out. It knows Watchword by its metadata. pysaml2 signs with
the program xmlsec1, which `make up` cannot bring along; here python-xmlsec signs, which Watchword has anyway.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qs

import httpx2
import xmlsec
from lxml import etree
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, xmldsig
from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.sigver import RSACrypto, import_rsa_key_from_file, verify_redirect_signature
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from watchword.demo import DEMO, Person, entity_id_of, slo_url_of, sso_url_of
from watchword.demo.keys import key_pair
from watchword.demo.pages import Pages, static

_METADATA: Final = "application/samlmetadata+xml"
_MOST_BYTES: Final = 16 * 1024
_NOT_KEPT: Final = {"Cache-Control": "no-store"}
_SIGNED_OUT: Final = "demo-labs-signed-out"  # the cookie of a browser at whose desk nobody is known any more
_PEOPLE: Final[Mapping[str, Person]] = {person.username: person for person in DEMO.saml_people}

log = logging.getLogger(__name__)


class Labs:
    """The provider."""

    def __init__(self, url: str, *, issuer: str, home: Path) -> None:
        """url: where it answers.  issuer: Watchword.  home: where its key is."""
        self._url, self._issuer = url, issuer
        self._key, self._certificate = key_pair(home)
        self._pages = Pages()
        self._meeting = Lock()
        self._met: Server | None = None

    def app(self) -> Starlette:
        """Where it answers."""
        return Starlette(
            routes=[
                Route("/metadata", self._metadata),
                Route("/sso", self._sso, methods=["GET", "POST"]),
                Route("/slo", self._slo),
                static(),
            ]
        )

    async def _metadata(self, _request: Request) -> Response:
        return Response(str(entity_descriptor(self._config())), media_type=_METADATA)

    async def _sso(self, request: Request) -> Response:
        """Who is at the desk, to Watchword; or the question who it is, which comes back with the answer."""
        body = await request.body() if request.method == "POST" else request.url.query.encode()
        is_known = _SIGNED_OUT not in request.cookies
        return await _answer(body, lambda asked: self._answered(asked, is_known=is_known))

    async def _slo(self, request: Request) -> Response:
        """Nobody is known at the desk any more, and the browser is back at Watchword with the answer."""
        return await _answer(request.url.query.encode(), self._signed_out)

    def _answered(self, asked: Mapping[str, str], *, is_known: bool) -> Response:
        server = self._server()
        request = server.parse_authn_request(asked["SAMLRequest"], BINDING_HTTP_REDIRECT).message
        if "person" not in asked and (request.force_authn == "true" or not is_known):
            return self._pages.render("labs.html", people=DEMO.saml_people, asked=asked)
        person = _PEOPLE[asked["person"]] if "person" in asked else DEMO.saml_people[0]
        to = server.response_args(request, [BINDING_HTTP_POST])
        response = server.create_authn_response(
            _attributes(person),
            in_response_to=to["in_response_to"],
            destination=to["destination"],
            sp_entity_id=to["sp_entity_id"],
            name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=person.username),
            authn={
                "class_ref": PASSWORDPROTECTEDTRANSPORT,
                "authn_instant": int(dt.datetime.now(dt.UTC).timestamp()),
            },
            sign_assertion=True,
            sign_alg=xmldsig.SIG_RSA_SHA256,
            digest_alg=xmldsig.DIGEST_SHA256,
        )
        posted = server.apply_binding(
            BINDING_HTTP_POST, str(response), to["destination"], relay_state=asked.get("RelayState", ""), response=True
        )
        answer = HTMLResponse(str(posted["data"]), headers=_NOT_KEPT)
        answer.delete_cookie(_SIGNED_OUT)
        return answer

    def _signed_out(self, asked: Mapping[str, str]) -> Response:
        server = self._server()
        request = server.parse_logout_request(asked["SAMLRequest"], BINDING_HTTP_REDIRECT).message
        _check_signed(server, asked, request.issuer.text)
        sent = server.apply_binding(
            BINDING_HTTP_REDIRECT,
            str(server.create_logout_response(request, [BINDING_HTTP_REDIRECT], sign=False)),
            server.response_args(request, [BINDING_HTTP_REDIRECT])["destination"],
            relay_state=asked.get("RelayState", ""),
            response=True,
            sign=True,
            sigalg=xmldsig.SIG_RSA_SHA256,
        )
        answer = RedirectResponse(dict(sent["headers"])["Location"], 303, _NOT_KEPT)
        answer.set_cookie(_SIGNED_OUT, "1", httponly=True, samesite="lax")
        return answer

    def _server(self) -> Server:
        """What answers, once Watchword's metadata was read: when it first sends somebody."""
        with self._meeting:
            if self._met is None:
                url = f"{self._issuer}/api/auth/sso/saml2/sp/metadata/{DEMO.saml_provider_id}"
                metadata = httpx2.get(url, trust_env=False, timeout=10.0).raise_for_status().text
                made = Server(config=self._config(metadata))
                made.sec.crypto = PythonXmlsec()
                made.sec.sec_backend = RSACrypto(import_rsa_key_from_file(str(self._key)))
                self._met = made
            return self._met

    def _config(self, sp_metadata: str = "") -> IdPConfig:
        """What pysaml2 is told."""
        policy = {
            "lifetime": {"minutes": 5},
            "attribute_restrictions": None,
            "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic",
        }
        return IdPConfig().load(
            {
                "entityid": entity_id_of(self._url),
                "crypto_backend": "XMLSecurity",  # the one that looks for no program; PythonXmlsec takes its place
                "key_file": str(self._key),
                "cert_file": str(self._certificate),
                "metadata": {"inline": [sp_metadata]} if sp_metadata else {},
                "service": {
                    "idp": {
                        "name": "Demo Labs",
                        "endpoints": {
                            "single_sign_on_service": [(sso_url_of(self._url), BINDING_HTTP_REDIRECT)],
                            "single_logout_service": [(slo_url_of(self._url), BINDING_HTTP_REDIRECT)],
                        },
                        "policy": {"default": policy},
                    }
                },
            }
        )


class PythonXmlsec:
    """What pysaml2 asks of a crypto backend, as far as this provider needs it: signatures."""

    def sign_statement(self, statement: str | bytes, _node_name: str, key_file: str, node_id: str) -> str:
        """The message with the signature that pysaml2 has prepared in the element with this ID."""
        root = etree.fromstring(statement.encode() if isinstance(statement, str) else statement)
        xmlsec.tree.add_ids(root, ["ID"])
        (signed,) = root.xpath("descendant-or-self::*[@ID=$id]", id=node_id)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_file(key_file, xmlsec.constants.KeyDataFormatPem)
        context.sign(signed.find(f"{{{xmldsig.NAMESPACE}}}Signature"))
        return str(etree.tostring(root, encoding="unicode"))


def _check_signed(server: Server, asked: Mapping[str, str], issuer: str) -> None:
    """The request is Watchword's own: any page can send a browser here. Raises ValueError and pysaml2's own.

    pysaml2 looks at signatures of redirects only where it wants them of sign-ins as well, which Watchword does not
    sign.  Spec: SAML Profiles 4.4.4.1; SAML Bindings 3.4.4.1.
    """
    signed = {name: asked[name] for name in ("SAMLRequest", "RelayState", "SigAlg", "Signature") if name in asked}
    known = [certificate for _name, certificate in server.metadata.certs(issuer, "any", "signing")]
    if asked["SigAlg"] != xmldsig.SIG_RSA_SHA256 or not any(
        verify_redirect_signature(signed, server.sec.sec_backend, certificate) for certificate in known
    ):
        raise ValueError("not signed by Watchword")


async def _answer(body: bytes, answer: Callable[[Mapping[str, str]], Response]) -> Response:
    """The answer to the message in a form or query."""
    asked = {name: values[0] for name, values in parse_qs(body[:_MOST_BYTES].decode("latin-1")).items()}
    try:
        return await run_in_threadpool(answer, asked)
    except Exception as error:  # pysaml2 has one of its own for each thing that can be wrong, of no common kind
        log.exception("not answered")
        return PlainTextResponse(f"This is no request that Demo Labs can answer: {type(error).__name__}.\n", 400)


def _attributes(person: Person) -> dict[str, Any]:
    first, last = person.name.split(" ")
    return {
        "uid": person.username,
        "email": person.email,
        "firstName": first,
        "lastName": last,
        "groups": [person.group],
    }
