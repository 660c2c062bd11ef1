"""Documents that cannot drift: settings, events, endpoints and cited specifications, made from the code itself.

`python -m watchword.reference` writes docs/reference; `--check` writes nothing and fails, naming the file, when what
stands there differs from what the code says or when a cited section or a threat has no test.
"""

import argparse
import ast
import asyncio
import importlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from pydantic_core import PydanticUndefined

from watchword.apply import OWNERS
from watchword.composition import compose, settings_of
from watchword.installation import Installation
from watchword.threats import threats_page, untested_threats
from watchword_admin.presets import Presets
from watchword_events.asyncapi import document
from watchword_events.catalogue import CATALOGUE
from watchword_events.handovers import PAYLOADS
from watchword_events.names import Service
from watchword_policy.administration import BY_SCOPE, ROLES, gives, opens, permission_of
from watchword_runtime.service import ServiceApp
from watchword_runtime.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "reference"
SOURCES = ("libs", "services", "watchword")
MADE = "<!-- Made from the code by `make docs`; do not edit. -->\n\n"
Apis = dict[Service, dict[str, Any]]  # OpenAPI documents are plain JSON
_SPEC_LINE = re.compile(r"Spec:\s*(.+?)\.?\s*(?:\n\s*\n|$)", re.DOTALL)


def events_page() -> str:
    """docs/reference/events.md: the catalogue and the hand-overs as tables."""
    lines = [MADE + "# Events\n"]
    lines.append("Bodies carry ids and versions only; attributes travel as CloudEvents headers. See asyncapi.json.\n")
    lines.append("| type | owner | subject | what is true | consumers |")
    lines.append("|---|---|---|---|---|")
    for row in CATALOGUE:
        summary = (row.event.__doc__ or "").strip().splitlines()[0]
        consumers = ", ".join(service.value for service in row.consumers) or "–"
        lines.append(f"| `{row.type}` | {row.owner.value} | `{row.subject}` | {summary} | {consumers} |")
    lines.append("\n# Hand-overs\n")
    lines.append("Single-use tickets that carry a sign-in from one service to the next, through the browser.\n")
    lines.append("| kind | from | to | what it says |")
    lines.append("|---|---|---|---|")
    for payload in PAYLOADS:
        summary = (payload.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| `{payload.kind.value}` | {payload.sender.value} | {payload.receiver.value} | {summary} |")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """docs/reference/settings.md: every variable that a service reads, with default and meaning."""
    lines = [MADE + "# Settings\n"]
    lines.append(
        "Read from the environment. Every secret may also be given as a file: append `_FILE` to its name. A missing or "
        "invalid setting stops the start with its name and a remedy.\n"
    )
    common = set(ServiceSettings.model_fields)
    lines += _settings_table("All services", ServiceSettings, common)
    for service in Service:
        settings = _settings_class(service)
        own = set(settings.model_fields) - common
        if own:
            lines += _settings_table(service.value, settings, own)
    return "\n".join(lines) + "\n"


def _settings_class(service: Service) -> type[ServiceSettings]:
    module = importlib.import_module(f"watchword_{service.value}.settings")
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, ServiceSettings) and found.__module__ == module.__name__
    )


def _settings_table(title: str, settings: type[ServiceSettings], names: set[str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in settings.model_fields.items():
        if name in names:
            default = "required" if field.default is PydanticUndefined and not field.default_factory else ""
            if not default:
                default = f"`{field.get_default(call_default_factory=True)}`"
            yield f"| `WATCHWORD_{name.upper()}` | {default} | {field.description or ''} |"
    yield ""


def endpoints_page(apis: Apis) -> str:
    """docs/reference/endpoints.md: every operation of the five OpenAPI documents."""
    lines = [MADE + "# Endpoints\n", "| method | path | service | what it does |", "|---|---|---|---|"]
    rows = sorted(
        (path, method.upper(), service.value, _summary(operation))
        for service, api in apis.items()
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    )
    lines += [f"| {method} | `{path}` | {service} | {summary} |" for path, method, service, summary in rows]
    return "\n".join(lines) + "\n"


def permissions_page(apis: Apis) -> str:
    """docs/reference/permissions.md: what each route of `/api/v1` asks for, and which roles have it."""
    lines = [MADE + "# Permissions\n"]
    lines.append(
        "A person calls a route with the permission that it asks for, through a client whose `permission_scope` holds "
        "it or with the scope `watchword:admin`. A client that acts for itself needs `watchword:admin`.\n"
    )
    lines.append(f"| method | path | permission | {' | '.join(ROLES)} | everybody |")
    lines.append("|---" * (len(ROLES) + 4) + "|")
    for path, method in sorted(
        (path, method.upper())
        for api in apis.values()
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/api/v1/") and operation.get("security") != [] and (method.upper(), path) not in BY_SCOPE
    ):
        permission = permission_of(method, path)
        may = [_may(roles, method, path) for roles in (*((role,) for role in ROLES), ())]
        lines.append(f"| {method} | `{path}` | `{permission}` | {' | '.join(may)} |")
    return "\n".join(lines) + "\n"


def _may(roles: Collection[str], method: str, path: str) -> str:
    if gives(roles, permission_of(method, path)):
        return "yes"
    return "own organization" if opens(roles, method, path) else ""


def providers_page() -> str:
    """docs/reference/providers.md: what each preset fills in, asks for, and wants done at the provider."""
    presets = Presets.load().all
    lines = [MADE + "# Presets of identity providers\n"]
    lines.append("How they work, and how to write one: [providers](../providers.md).\n")
    lines.append("| preset | protocol | asks for | e-mail address is verified | groups |")
    lines.append("|---|---|---|---|---|")
    for preset in presets:
        asked = ", ".join(
            f"`{field.name}`" + ("" if field.required else "?") for field in preset.fields[: preset.first]
        )
        trust = preset.sets.get("email_trust", "claim")
        vouches = "never" if preset.kind == "saml" else _VOUCHES["list" if "emails" in preset.sets else str(trust)]
        groups = preset.sets.get("groups_claim") or preset.sets.get("groups_attribute")
        told = f"`{groups}`" if groups else "as configured" if preset.preset == preset.kind else "–"
        name = f"[`{preset.preset}`](#{preset.preset})"
        lines.append(f"| {name} {preset.display_name} | {preset.kind} | {asked} | {vouches} | {told} |")
    lines.append("\n`?` marks what may be left out.")
    for preset in presets:
        lines.append(f"\n## {preset.preset}\n")
        lines.append(f"{preset.display_name}. [What the provider says]({preset.docs_url})\n")
        lines += [f"{place}. {step}" for place, step in enumerate(preset.steps, 1)]
        if preset.sets:
            lines.append("\nFilled in, unless something else is said:\n\n```yaml")
            lines += [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in preset.sets.items()]
            lines.append("```")
    return "\n".join(lines) + "\n"


_VOUCHES = {
    "claim": "where it says so",
    "claim_or_text": "where it says so, if only as a text",
    "google": "at gmail.com and in a Workspace, where it says so",
    "never": "never",
    "always": "always",
    "list": "where its list of addresses says so",
}


def _summary(operation: dict[str, Any]) -> str:
    text: str = operation.get("description") or operation.get("summary") or ""
    return text.strip().partition("\n")[0].replace("|", "\\|")


def _services() -> tuple[ServiceApp, ...]:
    """Every service, built; nothing is started and nothing connected."""
    installation = Installation.drawn()
    settings = {
        service: settings_of(
            service, {"database_url": "postgresql://nobody@127.0.0.1/none", "keys": installation.keys_of(service)}
        )
        for service in Service
    }
    return compose(settings).services


async def openapi_documents() -> Apis:
    """The OpenAPI document of each service."""
    apis = {}
    for service in _services():
        if not isinstance(service.app, FastAPI):
            raise TypeError(f"{service.name} has no OpenAPI document")
        apis[service.name] = service.app.openapi()
    return apis


async def document_schema() -> dict[str, Any]:
    """docs/reference/documents.schema.json: JSON Schema of every document that `watchword apply` takes."""
    merged: dict[str, Any] = {"oneOf": [], "$defs": {}}
    for service in _services():
        if service.name.value not in OWNERS:
            continue
        transport = httpx2.ASGITransport(service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8080") as http:
            schema = (await http.get(f"/api/v1/apply/{service.name}/schema")).raise_for_status().json()
        merged["oneOf"] += schema["oneOf"]
        merged["$defs"] |= schema["$defs"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **merged}


def merged_openapi(apis: Apis) -> dict[str, Any]:
    """One OpenAPI document for the one origin that people see."""
    paths: dict[str, Any] = {}
    components: dict[str, dict[str, Any]] = defaultdict(dict)
    for api in apis.values():
        paths |= api["paths"]
        for kind, entries in api.get("components", {}).items():
            components[kind] |= entries
    return {
        "openapi": "3.1.0",
        "info": {"title": "Watchword", "version": version("watchword")},
        "paths": dict(sorted(paths.items())),
        "components": {kind: dict(sorted(entries.items())) for kind, entries in sorted(components.items())},
    }


def cited_sections() -> dict[str, list[str]]:
    """Every section that a docstring cites as its specification, with the places that cite it."""
    cited: dict[str, list[str]] = defaultdict(list)
    for directory in SOURCES:
        for path in sorted((ROOT / directory).rglob("watchword*/**/*.py")):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    name = getattr(node, "name", "")
                    for section in _sections(ast.get_docstring(node) or ""):
                        place = f"`{path.relative_to(ROOT)}`" + (f" {name}" if name else "")
                        cited[section].append(place)
    return cited


def _sections(docstring: str) -> Iterator[str]:
    for match in _SPEC_LINE.finditer(docstring):
        yield from split_citation(match[1])


def split_citation(citation: str) -> Iterator[str]:
    """Each section of a citation such as `RFC 6750 2.1, 3; RFC 7636 4.6 (S256 only)`, with its document's name."""
    for part in re.sub(r"\([^)]*\)", "", citation).split(";"):
        text = re.sub(r"\s+,", ",", " ".join(part.split())).rstrip(".,")
        numbered = re.fullmatch(r"(.+?) ((?:[A-Z]\.)?(?:[\d.]+|[A-Z])(?:, (?:[A-Z]\.)?(?:[\d.]+|[A-Z]))*)", text)
        if numbered:
            yield from (f"{numbered[1]} {number}" for number in numbered[2].split(", "))
        elif text:
            yield text


def tested_sections() -> dict[str, list[str]]:
    """Every section that a `@pytest.mark.spec` names, with the tests that carry it."""
    tested: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for section in _marked(decorator):
                        tested[section].append(f"`{path.relative_to(ROOT)}` {node.name}")
    return tested


def _marked(decorator: ast.expr) -> Iterator[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.spec"):
        for argument in decorator.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield from split_citation(argument.value)


def specs_page() -> str:
    """docs/reference/specs.md: each cited or tested section, where it is decided and what proves it."""
    cited, tested = cited_sections(), tested_sections()
    lines = [MADE + "# Specifications\n", "| section | decided in | proven by |", "|---|---|---|"]
    for section in sorted(cited.keys() | tested.keys(), key=_natural):
        where = "<br>".join(sorted(set(cited.get(section, [])))) or "–"
        proof = "<br>".join(sorted(set(tested.get(section, [])))) or "**no test**"
        lines.append(f"| {section} | {where} | {proof} |")
    return "\n".join(lines) + "\n"


def _natural(section: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", section)]


def untested_sections() -> list[str]:
    """Sections that the code cites and no test names."""
    return sorted(cited_sections().keys() - tested_sections().keys(), key=_natural)


def pages() -> dict[Path, str]:
    """Every generated document by its path."""
    made, apis = version("watchword"), asyncio.run(openapi_documents())
    return {
        TARGET / "events.md": events_page(),
        TARGET / "asyncapi.json": json.dumps(document(made), indent=2) + "\n",
        TARGET / "settings.md": settings_page(),
        TARGET / "endpoints.md": endpoints_page(apis),
        TARGET / "permissions.md": permissions_page(apis),
        TARGET / "openapi.json": json.dumps(merged_openapi(apis), indent=2) + "\n",
        TARGET / "documents.schema.json": json.dumps(asyncio.run(document_schema()), indent=2) + "\n",
        TARGET / "providers.md": providers_page(),
        TARGET / "specs.md": specs_page(),
        TARGET / "threats.md": threats_page(MADE, ROOT / "tests"),
    }


def main() -> int:
    """0 when everything stands as the code says."""
    parser = argparse.ArgumentParser(prog="python -m watchword.reference")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    wrong = []
    for path, text in pages().items():
        if check:
            if not path.is_file() or path.read_text() != text:
                wrong.append(f"{path.relative_to(ROOT)} is not what the code says: run `make docs`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    wrong += [f"{section}: cited by the code, named by no test" for section in untested_sections()]
    wrong += [f"{threat}: named by no test" for threat in untested_threats(ROOT / "tests")]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
