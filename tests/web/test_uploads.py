"""Forms with files are read as strictly as others."""

import pytest

from watchword_web.errors import BadRequest
from watchword_web.uploads import parse_upload

TYPE = "multipart/form-data; boundary=----WebKitFormBoundaryAbC"


def part(name: str, content: bytes, filename: str | None = None, boundary: str = "----WebKitFormBoundaryAbC") -> bytes:
    """One control, as Chromium sends it."""
    more = "" if filename is None else f'; filename="{filename}"'
    kind = "" if filename is None else "\r\nContent-Type: application/octet-stream"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}{kind}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"------WebKitFormBoundaryAbC--\r\n"
BAD = {
    "nothing": (b"", TYPE),
    "no end": (part("a", b"1"), TYPE),
    "something before": (b"x\r\n" + part("a", b"1") + END, TYPE),
    "something behind": (part("a", b"1") + END + b"x", TYPE),
    "a name twice": (part("a", b"1") + part("a", b"2") + END, TYPE),
    "a file and a text of one name": (part("a", b"1", "x.png") + part("a", b"2") + END, TYPE),
    "no name": (b"------WebKitFormBoundaryAbC\r\nContent-Type: text/plain\r\n\r\n1\r\n" + END, TYPE),
    "no head": (b"------WebKitFormBoundaryAbC\r\n1\r\n" + END, TYPE),
    "two names": (part('a"; name="b', b"1") + END, TYPE),
    "a longer boundary": (part("a", b"1", boundary="----WebKitFormBoundaryAbCd") + END, TYPE),
    "text that is no UTF-8": (part("a", b"\xff") + END, TYPE),
    "a NUL": (part("a", b"\x00") + END, TYPE),
    "too many": (b"".join(part(f"a{number}", b"1") for number in range(51)) + END, TYPE),
    "another type": (b"a=1", "application/x-www-form-urlencoded"),
    "no boundary": (part("a", b"1") + END, "multipart/form-data"),
    "mixed": (part("a", b"1") + END, TYPE.replace("form-data", "mixed")),
}


@pytest.mark.spec("RFC 7578 4; RFC 2046 5.1.1")
def test_texts_and_files_come_out_as_they_were() -> None:
    picture = bytes(range(256)) + b"\r\n--\r\n----WebKit\r\n\r\n"
    body = part("name", "Größe & Sohn".encode()) + part("empty", b"") + part("logo", picture, "a%22b.png")
    assert parse_upload(body + part("none", b"", "") + END, TYPE) == ({"name": "Größe & Sohn"}, {"logo": picture})
    assert parse_upload(END, TYPE) == ({}, {})


@pytest.mark.parametrize(("body", "content_type"), BAD.values(), ids=BAD)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        parse_upload(body, content_type)
