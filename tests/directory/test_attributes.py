"""Attributes of the installation's own: declared first, of one kind, and true to it."""

import asyncio
import secrets

import pytest
from tests.directory.conftest import Register

from watchword_testkit.api import Api

VALUES: dict[str, tuple[list[object], list[object]]] = {
    "string": (["x", "a b", "\u00fc"], [1, True, ["x"], {"a": 1}, None, "", " ", "a\nb", "\u202ex", "x" * 1025]),
    "strings": ([[], ["a"], ["a", "b"]], ["a", [1], [["a"]], [None], [""], ["x"] * 65, {"a": "b"}]),
    "integer": ([0, -5, 2**53 - 1], ["1", 1.5, True, [1], 2**53, -(2**53)]),
    "boolean": ([True, False], [0, 1, "true", "yes", [True]]),
}


def fresh() -> str:
    return f"a_{secrets.token_hex(5)}"


async def declare(api: Api, kind: str, name: str = "") -> str:
    name = name or fresh()
    answer = await api.call("PUT", f"/attributes/{name}", {"kind": kind})
    assert answer.status_code in {200, 201}, answer.text
    return name


async def cleared(api: Api, name: str, *users: dict[str, object]) -> None:
    """Nobody has it, and it is declared no more: an installation can have 64."""
    for user in users:
        await api.change(f"/users/{user['id']}", attributes={})
    await api.delete(f"/attributes/{name}")


@pytest.mark.parametrize("kind", VALUES)
async def test_a_value_is_of_its_attributes_kind(api: Api, register: Register, kind: str) -> None:
    good, bad = VALUES[kind]
    name, user = await declare(api, kind), await register()
    for value in good:
        changed = await api.change(f"/users/{user['id']}", attributes={name: value})
        assert changed["attributes"] == {name: value}
    for value in bad:
        refused = await api.call("PATCH", f"/users/{user['id']}", {"attributes": {name: value}})
        assert refused.status_code == 400, value
        assert refused.json()["errors"][0]["pointer"] == f"#/attributes/{name}"
    assert (await api.get(f"/users/{user['id']}"))["attributes"] == {name: good[-1]}
    await cleared(api, name, user)


async def test_an_attribute_keeps_its_kind_and_goes_when_nobody_has_it(api: Api, register: Register) -> None:
    name = await declare(api, "string")
    assert (await api.call("PUT", f"/attributes/{name}", {"kind": "string", "description": "x"})).status_code == 200
    other = await api.call("PUT", f"/attributes/{name}", {"kind": "integer"})
    assert (other.status_code, other.json()["title"]) == (409, "Declared otherwise")
    user = await register(attributes={name: "x"})
    assert (await api.call("DELETE", f"/attributes/{name}")).json()["title"] == "In use"
    await cleared(api, name, user)
    assert (await api.call("DELETE", f"/attributes/{name}")).status_code == 404


@pytest.mark.parametrize(
    "name", ["A", "1a", "a-b", "a.b", "a b", "_a", "a" * 64, "\u00fc", "%00", "a%2Fb", "groups", "email_verified"]
)
async def test_what_is_no_name_is_refused(api: Api, name: str) -> None:
    answer = await api.client.put(f"/attributes/{name}", json={"kind": "string"})
    assert answer.status_code in {400, 404}, answer.text


@pytest.mark.parametrize("body", [{}, {"kind": "float"}, {"kind": None}, {"kind": "string", "name": "x"}, []])
async def test_what_is_no_declaration_is_refused(api: Api, body: object) -> None:
    assert (await api.client.put(f"/attributes/{fresh()}", json=body)).status_code == 400


async def test_no_value_is_left_without_its_declaration(api: Api, register: Register) -> None:
    user = await register()
    for _ in range(6):
        name = await declare(api, "string")
        written, withdrawn = await asyncio.gather(
            api.call("PATCH", f"/users/{user['id']}", {"attributes": {name: "x"}}),
            api.call("DELETE", f"/attributes/{name}"),
        )
        assert (written.status_code, withdrawn.status_code) in {(200, 409), (400, 204)}
        if written.status_code == 200:
            await cleared(api, name, user)
