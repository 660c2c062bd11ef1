"""Links between the documents lead somewhere, and what the site shows is all of them."""

import json
import re
import secrets
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from ruamel.yaml import YAML
from tests.flows.pictures import IMAGES, NOTES, SCREENS, drawn_from

from watchword import documents
from watchword_testkit.api import Api

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for glob in ("*.md", "docs/**/*.md", "libs/*/README.md") for page in ROOT.glob(glob))
_LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")


def text_of(page: Path) -> str:
    """The page without what is shown as code."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as the site and the repository's host make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", text_of(page), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.replace("`", "").replace("*", ""))
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        found |= {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in (plain, ascii_only)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_CODE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def shown() -> set[str]:
    """The pages that the site's navigation names."""
    found: set[str] = set()

    def collect(entry: object) -> None:
        for each in entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else ():
            found.add(each) if isinstance(each, str) else collect(each)

    collect(YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"])
    return found


def test_the_site_shows_every_page() -> None:
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {page for page in there if not page.startswith(("adr/", "reference/"))} <= shown() <= there


# Whatever makes a reader's browser ask another host: pictures, scripts, styles, frames.
_FETCHED = re.compile(
    r"!\[[^\]]*\]\((?:https?:)?//|<(?:script|link|img|iframe|image|use)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//"
    r"|@import|url\([\"']?(?:https?:)?//",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *DOCS.rglob("*.svg")], ids=lambda page: str(page.name))
def test_a_page_of_the_site_fetches_nothing_from_elsewhere(page: Path) -> None:
    said = page.read_text() if page.suffix == ".svg" else _CODE.sub("", text_of(page))
    assert _FETCHED.findall(said) == []
    # The theme draws these with a program that it takes from unpkg.com.
    assert "```mermaid" not in page.read_text()


def test_the_site_itself_fetches_nothing_from_elsewhere() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    config = YAML(typ="safe").load(text)
    assert config["theme"]["font"] is False  # else from fonts.googleapis.com
    assert not {"extra_javascript", "extra_css"} & config.keys()
    assert "mermaid" not in text


def applications() -> dict[str, str]:
    """The documents of docs/applications.md, by the heading over them."""
    found = {}
    for part in (DOCS / "applications.md").read_text().split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        for block in re.findall(r"```yaml\n(kind: .*?)```", part, re.DOTALL):
            found[heading] = block
    return found


@pytest.mark.parametrize("name", applications())
async def test_an_application_can_be_declared_as_its_page_says(api: Api, tmp_path: Path, name: str) -> None:
    (tmp_path / "document.yaml").write_text(applications()[name])
    (document,) = documents.read(tmp_path / "document.yaml")
    members = {"kind": document.kind, **document.members}
    if "short_name" in members:  # another test may have followed the page before
        members["short_name"] = f"declared-{secrets.token_hex(4)}"
    answer = await api.call("POST", "/apply/admin", {"documents": [members], "dry_run": True})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", [name for name, block in applications().items() if "offline_access" in block])
def test_an_application_that_asks_for_offline_access_may_refresh(name: str) -> None:
    assert "refresh_token" in applications()[name]


def test_no_screen_has_changed_since_its_picture_was_taken() -> None:
    """`make pictures` takes them again; look at them before they are committed."""
    taken = json.loads(NOTES.read_text())
    assert taken == {name: drawn_from(name) for name in SCREENS}
    shown = {path.stem.removesuffix("-dark") for path in IMAGES.glob("*.png")}
    assert shown == set(SCREENS)
