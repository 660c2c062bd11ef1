"""Resource servers: for which of them a client gets tokens, and what those look like."""

import asyncio
import secrets
from typing import Any

import pytest
from tests.token.conftest import ISSUER, Site

from watchword_database.ids import new_id
from watchword_events.contracts import ResourceChanged
from watchword_events.exports import ClientExport, Exported, ResourceExport
from watchword_token.clients import Client, client_of
from watchword_token.resources import Shape, requested_resource, resources_of, scope_for, shape_of
from watchword_web.errors import OAuthError

A, B, C = "https://a.test", "https://b.test", "urn:c"


def client(**given: Any) -> Client:
    return client_of(ClientExport.model_validate({"client_id": "c", "client_name": "App", **given}))


def server(identifier: str, **given: Any) -> ResourceExport:
    return ResourceExport.model_validate({"id": identifier, "identifier": identifier, "name": "API", **given})


@pytest.mark.spec("RFC 8707 2; RFC 8707 2.2")
@pytest.mark.parametrize(
    ("audience", "known", "asked", "may"),
    [
        pytest.param([], [], "", True, id="none"),
        pytest.param([A], [], A, True, id="listed by the client"),
        pytest.param([A], [], B, False, id="not listed"),
        pytest.param([], [server(A)], A, False, id="known, and not open"),
        pytest.param([], [server(A, any_client=True)], A, True, id="open to every client"),
        pytest.param([B], [server(A, any_client=True)], f"{A} {B}", True, id="one open, one listed"),
        pytest.param([B], [server(A, any_client=True)], f"{A} {C}", False, id="one open, one of nobody"),
        pytest.param([], [server(A, any_client=True)], A + "/", False, id="almost the same"),
        pytest.param([], [server(A, any_client=True)], A.upper(), False, id="in other letters"),
    ],
)
def test_for_which_resources_a_client_gets_tokens(
    audience: list[str], known: list[ResourceExport], asked: str, may: bool
) -> None:
    form = {"resource": asked} if asked else {}
    if may:
        assert requested_resource(form, client(audience=audience), resources_of(known)) == tuple(asked.split())
    else:
        with pytest.raises(OAuthError) as refused:
            requested_resource(form, client(audience=audience), resources_of(known))
        assert refused.value.error == "invalid_target"


@pytest.mark.parametrize(
    ("audience", "known", "asked", "shape"),
    [
        pytest.param([], [], (), Shape(False, "ES256", 300), id="as the client says"),
        pytest.param([A], [server(A)], (A,), Shape(False, "ES256", 300), id="that says nothing"),
        pytest.param(
            [A],
            [server(A, access_token_format="opaque", access_token_lifetime_s=60)],
            (A,),
            Shape(True, "ES256", 60),
            id="as the resource says",
        ),
        pytest.param([A], [server(A, access_token_lifetime_s=3600)], (), Shape(False, "ES256", 3600), id="by default"),
        pytest.param(
            [A, B],
            [server(A, access_token_lifetime_s=60), server(B, access_token_signing_alg="EdDSA")],
            (A, B),
            Shape(False, "EdDSA", 60),
            id="each says something",
        ),
        pytest.param(
            [A, B],
            [server(A, access_token_lifetime_s=90), server(B, access_token_lifetime_s=60)],
            (A, B),
            Shape(False, "ES256", 60),
            id="the shorter life",
        ),
        pytest.param([A], [server(B, access_token_format="opaque")], (A,), Shape(False, "ES256", 300), id="another"),
        pytest.param(
            [A], [server(A, access_token_lifetime_s=999_999)], (A,), Shape(False, "ES256", 86_400), id="limit"
        ),
    ],
)
def test_what_a_token_looks_like(
    audience: list[str], known: list[ResourceExport], asked: tuple[str, ...], shape: Shape
) -> None:
    assert shape_of(client(audience=audience), asked, resources_of(known)) == shape


@pytest.mark.parametrize(
    "known",
    [
        [server(A, access_token_format="opaque"), server(B, access_token_format="jwt")],
        [server(A, access_token_signing_alg="ES256"), server(B, access_token_signing_alg="RS256")],
    ],
    ids=["formats", "algorithms"],
)
def test_resources_that_take_different_tokens_are_asked_for_one_at_a_time(known: list[ResourceExport]) -> None:
    with pytest.raises(OAuthError) as refused:
        shape_of(client(audience=[A, B]), (A, B), resources_of(known))
    assert refused.value.error == "invalid_target"


@pytest.mark.spec("RFC 9700 2.3")
@pytest.mark.parametrize(
    ("known", "asked", "scope", "kept"),
    [
        pytest.param([], (A,), "openid read", "openid read", id="not known here"),
        pytest.param([server(A)], (A,), "openid read", "openid read", id="takes any"),
        pytest.param([server(A, scopes=["read"])], (A,), "openid read write", "openid read", id="its own"),
        pytest.param([server(A, scopes=["read"])], (), "read write", "read write", id="not for it"),
        pytest.param(
            [server(A, scopes=["read"]), server(B, scopes=["write"])], (A, B), "read write x", "read write", id="of two"
        ),
        pytest.param([server(A, scopes=["read"])], (A, B), "read write", "read write", id="one that takes any"),
        pytest.param([server(A, scopes=["read"])], (A,), "write", "", id="nothing of it"),
        pytest.param([server(A, scopes=["read"])], (A,), "watchword:admin", "watchword:admin", id="ours"),
        pytest.param([server(A, scopes=["read"])], (A,), "", "", id="none"),
    ],
)
def test_a_token_carries_what_its_resources_take(
    known: list[ResourceExport], asked: tuple[str, ...], scope: str, kept: str
) -> None:
    assert scope_for(scope, client(), asked, resources_of(known)) == kept


async def known_to(site: Site, **given: Any) -> str:
    """The identifier of a resource server that admin has, and of which this instance has heard."""
    export = server(f"https://{secrets.token_hex(5)}.test", **given)
    export = export.model_copy(update={"id": new_id()})
    site.owners.owned["resource"][export.id] = Exported(id=export.id, version=1, data=export)
    await site.publish(ResourceChanged(id=export.id, version=1))
    app = await site.client()
    async with asyncio.timeout(30):
        while given.get("any_client"):
            asked = await site.token(app, grant_type="client_credentials", resource=export.identifier)
            if asked.status_code == 200:
                break
    return export.identifier


async def test_tokens_for_an_open_resource_are_as_it_says(site: Site) -> None:
    identifier = await known_to(
        site, any_client=True, scopes=["read"], access_token_format="opaque", access_token_lifetime_s=77
    )
    app = await site.client(grant_types=["authorization_code", "refresh_token", "client_credentials"])
    machine = (await site.token(app, grant_type="client_credentials", resource=identifier)).json()
    assert (machine["expires_in"], machine["scope"], machine["access_token"].count(".")) == (77, "read", 4)
    assert (await site.introspect(app, machine["access_token"]))["aud"] == identifier
    tokens = await site.sign_in(app, scope=("openid", "read", "write"), resource=(identifier,))
    assert (tokens["expires_in"], tokens["scope"]) == (77, "openid read")
    assert (await site.introspect(app, tokens["access_token"]))["aud"] == [identifier, ISSUER]
    again = (await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
    assert (again["expires_in"], again["scope"]) == (77, "openid read")
    assert (await site.introspect(app, again["access_token"]))["aud"] == [identifier, ISSUER]


async def test_a_resource_that_nobody_opened_is_refused(site: Site) -> None:
    app = await site.client()
    refused = await site.token(app, grant_type="client_credentials", resource="https://nobody.test")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
