"""Every block of the README runs, in its order, against the platform; its tables say what the code says."""

import ast
import inspect
import re
import shlex
import tomllib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from inspect import Parameter
from types import CodeType, FunctionType
from typing import Any, Final

import httpx2
import pytest
from tests.verifier.readme import AUDIENCE, BLOCK, HOME, README, at, blocks_of_python, names_for

import watchword_verifier
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_verifier import ClientCredentials, HttpFeed, NatsFeed, Proofs, Verifier
from watchword_verifier.tokens import CHECKS

TABLES: Final = (Verifier, Proofs, HttpFeed, ClientCredentials, NatsFeed)


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", README.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture
async def world(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[dict[str, Any]]:
    """The names that the README takes for granted. ready: a verifier that has started."""
    names = await names_for(platform, api, canary)
    feed = HttpFeed(platform.issuer, ClientCredentials(platform.issuer, names["client_id"], names["client_secret"]))
    async with Verifier(platform.issuer, AUDIENCE, feed=feed) as verifier:
        yield {**names, "ready": verifier}


async def run(source: str, names: dict[str, Any]) -> None:
    """The statements have been carried out, with `await` where a function's body would have it."""
    code: CodeType = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = FunctionType(code, names)()
    if inspect.isawaitable(result):
        await result


async def asked(app: Any, names: dict[str, Any]) -> list[tuple[int, str]]:
    """What an application answers to the token, and to none."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders") as client:
        answers = [
            await client.get("/orders", headers=headers) for headers in ({"Authorization": names["authorization"]}, {})
        ]
    return [(answer.status_code, answer.text.strip('"')) for answer in answers]


async def test_every_block_of_python_runs(
    platform: Platform, world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    names = world
    for title, block in blocks_of_python().items():
        source = at(platform, block)
        if title.startswith("Any other"):
            names["verifier"] = names["ready"]  # the one of the first block is closed
        await run(source, names)
        match title:
            case "Use":
                said = f"{names['caller']} {names['caller']} ['orders:read']"
                assert [line for line in capsys.readouterr().out.splitlines() if line.startswith(said)]
            case "FastAPI":
                async with names["app"].router.lifespan_context(names["app"]):
                    answers = await asked(names["app"], names)
                assert answers == [(200, names["caller"]), (401, '{"detail":"unauthorized"}')]
            case "Any other ASGI application":
                assert await asked(names["guarded"], names) == [
                    (200, names["caller"]),
                    (401, '{"error":"unauthorized"}'),
                ]
            case "Any other framework":
                assert names["claims"].subject == names["caller"]
                assert "answer" not in names
                await run(source, stranger := {**names, "authorization": "Bearer nonsense"})
                assert stranger["answer"][0] == 401
            case "Tokens that are bound to a key":
                assert names["bound"].proofs is names["proofs"]
            case "Clients that know nothing but your address":
                client = httpx2.AsyncClient(transport=httpx2.ASGITransport(names["open_to_agents"]))
                async with client:
                    document = (await client.get(names["orders"].url)).json()
                    refused = await client.get(names["AUDIENCE"])
                assert document["authorization_servers"] == [platform.issuer]
                assert names["orders"].url in refused.headers["www-authenticate"]
            case "Over NATS":
                assert isinstance(names["over_nats"], NatsFeed)
            case "While nobody can know":
                assert isinstance(names["mixed"], Verifier)
            case _:
                raise AssertionError(f"nobody looks at the block of {title!r}")


def test_there_is_no_block_that_no_test_runs() -> None:
    languages = [language for language, _ in BLOCK.findall(README)]
    assert languages.count("python") == len(blocks_of_python())
    assert languages.count("sh") == 1  # tests/deploy/test_library.py
    assert set(languages) == {"python", "sh"}


def written(parameter: Parameter) -> str:
    """How the README writes a default."""
    match parameter.default:
        case Parameter.empty:
            return ""
        case None:
            return "none"
        case timedelta() as time:
            return f"{time.total_seconds():g} s"
        case int() as number:
            return f"{number:,}"
        case str() as text:
            return f"`{text}`"
        case _ if callable(parameter.default):
            return "the clock"
    raise AssertionError(parameter)


@pytest.mark.parametrize("called", TABLES, ids=lambda called: called.__name__)
def test_the_table_of_arguments_is_the_signature(called: Callable[..., object]) -> None:
    table = [(name.strip("`"), default) for name, default, _ in rows(section(f"`{called.__name__}`"))]
    assert table == [(each.name, written(each)) for each in inspect.signature(called).parameters.values()]


def test_the_table_of_checks_is_the_list_of_checks() -> None:
    named = [function.strip("`") for _, _, function in rows(section("What is checked")) if function]
    assert named == [check.__name__ for check in CHECKS]


def test_the_table_of_policies_is_complete() -> None:
    named = [policy.strip("`") for policy, _ in rows(section("While nobody can know"))]
    assert named == list(watchword_verifier.WhenStale)


def test_what_it_names_can_be_imported() -> None:
    lines = re.findall(r"^from (watchword_verifier[\w.]*) import", README, re.MULTILINE)
    assert set(lines) == {
        "watchword_verifier",
        *(f"watchword_verifier.{name}" for name in ("fastapi", "asgi", "bearer")),
    }
    assert all(hasattr(watchword_verifier, name) for name in watchword_verifier.__all__)


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+)", (HOME / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_it_reads_well_away_from_the_sources() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert all(target.startswith("https://") for target in targets), targets
    for line in BLOCK.findall(README)[0][1].splitlines():
        assert shlex.split(line, comments=True)[:2] == ["pip", "install"]
