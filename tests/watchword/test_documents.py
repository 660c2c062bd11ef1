"""Documents as people write them: lines, secrets by reference, and what is no document."""

from pathlib import Path

import pytest

from watchword.documents import DocumentError, read
from watchword_runtime.declarations import write


def test_places_of_members_are_known(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "\n# first\nkind: Client\nredirect_uris:\n  - https://a.example/\n  - b\n"
        "jwks:\n  keys:\n    - kty: EC\n---\nkind: User\nusername: x\n"
    )
    first, second = read(file)
    for pointer, line in [
        ("", 3),
        ("redirect_uris", 4),
        ("redirect_uris/1", 6),
        ("redirect_uris/7", 4),
        ("jwks/keys/0/kty", 9),
        ("jwks/keys/0/crv", 9),
        ("nowhere", 3),
    ]:
        assert first.at(pointer) == f"{file}:{line}", pointer
    assert second.at("username") == f"{file}:12"


def test_what_must_not_stand_in_a_file_is_named_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "grafana.secret").write_text("from a file\n")
    file = tmp_path / "a.yaml"
    file.write_text(
        "kind: Client\nclient_secret: {file: grafana.secret}\nclient_name: {env: NAME}\nother: {env: NAME}\n"
    )
    (document,) = read(file)
    assert document.resolved({"client_secret", "client_name"}, {"NAME": "Grafana"}) == {
        "client_secret": "from a file",
        "client_name": "Grafana",
        "other": {"env": "NAME"},
    }


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{env: MISSING}", ":2: client_secret: the variable MISSING is not set"),
        ("{file: missing.secret}", ":2: client_secret: .*missing.secret cannot be read"),
        ("{file: .}", ":2: client_secret: .* cannot be read"),
    ],
)
def test_a_place_where_nothing_is_stands_with_its_line(tmp_path: Path, place: str, said: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"kind: Client\nclient_secret: {place}\n")
    (document,) = read(file)
    with pytest.raises(DocumentError, match=rf"a\.yaml{said}"):
        document.resolved({"client_secret"}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\n", r":1: kind is missing"),
        ("- kind: User\n", r": every document is a mapping"),
        ("kind: User\nusername: a\nusername: b\n", r":3: .*duplicate key"),
        ("kind: User\n  username: [\n", r":\d+: "),
        ("kind: !!python/object:os.system x\n---\n- 1\n", r": every document is a mapping"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "documents.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError, match=rf"documents\.yaml{said}"):
        read(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"kind: \xe9\n")
    for name in ("missing.yaml", "latin.yaml"):
        with pytest.raises(DocumentError, match=f"{name}: cannot be read"):
            read(tmp_path / name)


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    documents = [{"kind": "Client", "client_name": "true", "redirect_uris": ["https://a/"], "n": 1}, {"kind": "User"}]
    file = tmp_path / "out.yaml"
    file.write_text(write(documents, schema="http://localhost/schema"))
    assert file.read_text().startswith("# yaml-language-server: $schema=http://localhost/schema\n---\n")
    assert [{"kind": each.kind, **each.members} for each in read(file)] == documents
