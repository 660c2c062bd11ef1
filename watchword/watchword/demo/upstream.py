"""Demo Corp's identity provider: oidc-provider-mock from PyPI with our two people.

The mock asks at each sign-in who one is. A company's provider knows the person at the desk from the morning's sign-in,
so this one does too: it signs in the person whom the application hints at, Alice without a hint, and asks only when the
application wants it (`prompt`).
"""

import io
import json
import sys
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import oidc_provider_mock
import uvicorn

from watchword.demo import DEMO, HOST, Person

AUTHORIZE: Final = "/oauth2/authorize"


class AtTheDesk:
    """WSGI: answers an authorization request for the person who is signed in at the company already."""

    def __init__(self, app: WSGIApplication, people: tuple[Person, ...]) -> None:
        self._app = app
        self._people = people

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == AUTHORIZE:
            query = parse_qs(environ.get("QUERY_STRING", ""))
            if "prompt" not in query:
                self._press(environ, query.get("login_hint", [""])[0])
        return self._app(environ, start_response)

    def _press(self, environ: WSGIEnvironment, hint: str) -> None:
        """The request becomes the one that the person's button on the mock's page would send."""
        known = (person for person in self._people if hint in {person.username, person.email})
        body = urlencode({"sub": next(known, self._people[0]).username}).encode()
        environ["REQUEST_METHOD"] = "POST"
        environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)


def create_app() -> WSGIApplication:
    """The provider with the people of Demo Corp."""
    users = [
        oidc_provider_mock.User(
            sub=person.username,
            claims={
                "preferred_username": person.username,
                "name": person.name,
                "email": person.email,
                "email_verified": True,
                "groups": [person.group],
            },
        )
        for person in DEMO.upstream_people
    ]
    return AtTheDesk(oidc_provider_mock.app(require_nonce=True, user_claims=users), DEMO.upstream_people)


def main() -> None:
    """Serves as the orders on standard input say: `{"port": …}`."""
    orders = json.load(sys.stdin)
    config = uvicorn.Config(
        create_app(), host=HOST, port=int(orders["port"]), interface="wsgi", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
