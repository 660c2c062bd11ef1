"""The verifier as other teams get it: built, installed as its README says, and used where the workspace is not."""

import asyncio
import json
import os
import re
import shlex
import sys
import tarfile
import zipfile
from asyncio.subprocess import PIPE
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.conftest import ROOT
from tests.verifier.readme import BLOCK, README, at, blocks_of_python, names_for

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

pytestmark = pytest.mark.image

LIBRARIES: Final = ("events", "verifier")
INSTALLS: Final = [shlex.split(line, comments=True) for line in dict(BLOCK.findall(README))["sh"].splitlines()]

# Runs blocks of the README, with `await` where a function's body would have it.
RUNNER: Final = """
import ast, asyncio, inspect, json, sys

async def main(sources, names):
    for source in sources:
        done = eval(compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.isawaitable(done):
            await done

asyncio.run(main(*json.load(sys.stdin)))
"""
ASKED: Final = """
import httpx2

async with app.router.lifespan_context(app):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders") as client:
        for headers in {"Authorization": authorization}, {}:
            answer = await client.get("/orders", headers=headers)
            print("answered", answer.status_code, answer.text)
"""
VERIFIED: Final = """
async with Verifier(ISSUER, AUDIENCE, feed=over_nats, name="orders") as verifier:
    print("verified", (await verifier.verify(token)).subject)
"""


@pytest.fixture(scope="module")
async def built(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distributions, and the wheels that were built from them."""
    home = tmp_path_factory.mktemp("dist")
    for library in LIBRARIES:
        await run(uv, "build", "--quiet", "--package", f"watchword-{library}", "--out-dir", home, "--directory", ROOT)
    return home


async def run(*command: str | Path, cwd: Path | None = None, told: str = "") -> str:
    """What a command prints, without anything in its environment that leads to the workspace; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate(told.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


def wheel(built: Path, library: str) -> Path:
    (found,) = built.glob(f"watchword_{library}-*.whl")
    return found


def metadata(built: Path, library: str) -> Message:
    with zipfile.ZipFile(wheel(built, library)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module", params=INSTALLS, ids=lambda words: words[-1])
async def installed(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment after one of the lines under the README's title, with the wheels in place of the index."""
    home = tmp_path_factory.mktemp("elsewhere")
    await run(sys.executable, "-m", "venv", home)
    program, *words, wanted = request.param
    wanted = wanted.replace("watchword-verifier", str(wheel(built, "verifier")))
    await run(home / "bin" / program, *words, "--quiet", wanted, wheel(built, "events"))
    return home


@pytest.fixture
def extra(installed: Path, request: pytest.FixtureRequest) -> str:
    """The extra that was asked for, "" for none."""
    words: list[str] = request.node.callspec.params["installed"]
    found = re.search(r"\[(\w+)\]", words[-1])
    return found[1] if found else ""


async def printed(installed: Path, *sources: str, **names: str) -> list[str]:
    """What blocks of Python print, in the environment and away from the sources."""
    program = installed / "bin" / "python"
    said = await run(program, "-I", "-c", RUNNER, cwd=installed, told=json.dumps([sources, names]))
    return said.splitlines()


async def test_it_verifies_a_token_where_the_workspace_is_not(
    installed: Path, extra: str, platform: Platform, api: Api, canary: Canary
) -> None:
    names = await names_for(platform, api, canary)
    blocks = {title: at(platform, source) for title, source in blocks_of_python().items()}
    caller = names["caller"]
    match extra:
        case "":
            sources = []
            expected = {f"{caller} {caller} ['orders:read']"}
        case "nats":
            sources = [blocks["Over NATS"], VERIFIED]
            expected = {f"verified {caller}"}
        case "fastapi":
            sources = [blocks["FastAPI"], ASKED]
            expected = {f'answered 200 "{caller}"', 'answered 401 {"detail":"unauthorized"}'}
        case _:
            raise AssertionError(f"nobody looks at the extra {extra}")
    said = await printed(installed, blocks["Use"], *sources, **names)
    assert all(any(line.startswith(text) for line in said) for text in expected), said


async def test_nothing_but_what_is_published_is_needed(installed: Path, extra: str) -> None:
    code = """
import importlib, importlib.metadata, pkgutil
import watchword_verifier

for module in pkgutil.iter_modules(watchword_verifier.__path__):
    try:
        importlib.import_module(f"watchword_verifier.{module.name}")
    except ModuleNotFoundError as missing:
        print("without", missing.name)
print("from", watchword_verifier.__file__)
print(*sorted(d.name for d in importlib.metadata.distributions() if d.name.startswith("watchword")))
"""
    *missing, where, distributions = await printed(installed, code)
    assert missing == ([] if extra == "fastapi" else ["without fastapi"])
    assert where.startswith(f"from {installed}/")
    assert distributions == "watchword-events watchword-verifier"


@pytest.mark.parametrize("library", LIBRARIES)
def test_its_page_on_the_index_is_whole(built: Path, library: str) -> None:
    home, about = ROOT / "libs" / library, metadata(built, library)
    assert about["Name"] == f"watchword-{library}"
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "Apache-2.0"
    assert about.get_all("License-File") == ["LICENSE"]
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload() == (home / "README.md").read_text()
    assert (home / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert f"\n## {about['Version']}\n" in (home / "CHANGELOG.md").read_text()
    targets = re.findall(r"\]\(([^)]+)\)", (home / "README.md").read_text())
    assert all(target.startswith("https://") for target in targets), targets


def test_each_needs_others_as_the_index_can_have_them(built: Path) -> None:
    needed = {library: metadata(built, library).get_all("Requires-Dist", []) for library in LIBRARIES}
    listed = [each for names in needed.values() for each in names]
    assert all(re.search(r"[<>=~]", each) for each in listed), "a dependency without a version"
    assert not any("@" in each for each in listed), "a dependency that is a place"
    ours = [each for each in listed if each.startswith("watchword")]
    version = metadata(built, "events")["Version"]
    assert ours == [f"watchword-events~={version}"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_both_forms_hold_the_whole_package_and_nothing_else(built: Path, library: str) -> None:
    home, package = ROOT / "libs" / library, f"watchword_{library}"
    files = {str(path.relative_to(home)) for path in (home / package).rglob("*") if "__pycache__" not in path.parts}
    assert f"{package}/py.typed" in files
    with zipfile.ZipFile(wheel(built, library)) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == files
    (source,) = built.glob(f"{package}-*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    papers = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO"}
    assert names - {".gitignore"} == files | papers
