"""The OpenAPI description of the token endpoint says what its code reads and answers."""

import ast
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from tests.token.conftest import CALLBACK, VERIFIER, Site
from tests.token.test_device_code import Device
from tests.token.test_token_exchange import ACCESS

from watchword_token.routes.described import GRANTS, PATHS, TOKEN_ERRORS
from watchword_token.routes.hot import Asked, HotEndpoint
from watchword_web.errors import OAuthError

ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = ROOT / "services/token/watchword_token"
CREDENTIALS: Final = {"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type"}
# What is asked of clients at every endpoint of this service, and what resources of ours answer to bearers.
OTHERS: Final = {"invalid_token", "insufficient_scope"}


class Form(dict[str, str]):
    """A form that notes what is read of it."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)


async def forms(site: Site) -> AsyncIterator[dict[str, str]]:
    """A request of each grant type that comes as far as the last field."""
    app = await site.client(token_endpoint_auth_method="client_secret_post", grant_types=sorted(GRANTS))
    named = {"client_id": app.id, "client_secret": app.secret}
    user = await site.user()
    code = await site.code(app, user)
    yield {
        **named, "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER,
    }  # fmt: skip
    tokens = await site.sign_in(app, user)
    yield {**named, "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    yield {**named, "grant_type": "client_credentials"}
    device = await Device(site, app).begin()
    await device.answer(user)
    yield {**named, "grant_type": _called("device_code"), "device_code": device.code}
    shown = {"subject_token": tokens["access_token"], "subject_token_type": ACCESS}
    yield {**named, "grant_type": _called("token-exchange"), **shown}
    yield {**named, "grant_type": _called("jwt-bearer"), "assertion": "a.b.c"}


def _called(name: str) -> str:
    return f"urn:ietf:params:oauth:grant-type:{name}"


@pytest.mark.spec("RFC 6749 3.2, 5.2")
async def test_each_grant_type_is_described_with_the_fields_that_it_reads(site: Site) -> None:
    endpoint = site.service.hot["/oauth2/token"]
    assert isinstance(endpoint, HotEndpoint)
    seen: dict[str, set[str]] = {}
    answers: dict[str, set[str]] = {}
    async for fields in forms(site):
        form = Form(fields)
        with suppress(OAuthError):
            body = await endpoint.answer(Asked(None, form, site.clock().timestamp(), "POST", {}, None))
            assert isinstance(body, bytes)
            told = json.loads(body)
            site.canary.add("token", *(told[name] for name in told if name.endswith("_token")))
            answers[fields["grant_type"]] = set(told)
        seen[fields["grant_type"]] = form.read - CREDENTIALS
    answer = PATHS["/oauth2/token"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set().union(*answers.values()) <= set(answer["properties"])
    # The other two are refused after the last field was read.
    assert set(answers) == set(GRANTS) - {_called("token-exchange"), _called("jwt-bearer")}
    assert seen == {name: {*grant.required, *grant.optional} for name, grant in GRANTS.items()}


def test_the_form_of_each_grant_type_stands_in_the_document() -> None:
    operation = json.loads((ROOT / "docs/reference/openapi.json").read_text())["paths"]["/oauth2/token"]["post"]
    alternatives = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["oneOf"]
    assert [each["title"] for each in alternatives] == list(GRANTS)
    for each in alternatives:
        grant = GRANTS[each["title"]]
        assert set(each["properties"]) == {*CREDENTIALS, *grant.required, *grant.optional}
        assert each["required"] == ["grant_type", *grant.required]


def test_every_error_that_the_code_raises_is_described() -> None:
    """Codes as they stand in the code that the token endpoint runs through."""
    read = [
        *(TOKEN / "grants").glob("*.py"),
        *(TOKEN / f"{name}.py" for name in ("approvals", "binding", "client_formats", "clients", "formats", "issuing")),
        *(
            TOKEN / f"{name}.py"
            for name in ("pairwise", "particulars", "persons", "resources", "subjects", "workloads")
        ),
        TOKEN / "routes/protocol.py",
        *(ROOT / "libs/runtime/watchword_runtime").glob("client_*.py"),
        ROOT / "libs/runtime/watchword_runtime/dpop_proofs.py",
        ROOT / "libs/web/watchword_web/errors.py",
        ROOT / "libs/web/watchword_web/limits.py",
    ]
    raised = set(chain.from_iterable(_codes(ast.parse(path.read_text())) for path in read))
    described = {*chain(*TOKEN_ERRORS.values()), *chain(*(grant.errors for grant in GRANTS.values()))}
    assert raised - OTHERS == described


def _codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in {"OAuthError", "NotAllowed"} and isinstance(first, ast.Constant):
                yield str(first.value)
