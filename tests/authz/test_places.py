"""Places of addresses, read from real databases that are written here."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from structlog.testing import capture_logs
from tests.authz.conftest import ISSUER, running
from tests.authz.test_api import call
from tests.authz.test_second_factor import sign_in_here

from watchword_authz.places import Places
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres

LONDON: dict[str, object] = {
    "city": {"names": {"en": "London", "de": "London", "ja": "ロンドン"}},
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom", "de": "Vereinigtes Königreich"}},
}
HOME, ELSEWHERE, SIXTH, NOWHERE = "81.2.69.160", "89.160.20.112", "2001:218::1", "9.9.9.9"


def write(path: Path, networks: Mapping[str, object], ip_version: int = 6) -> Path:
    """A database of these networks, put in place at once."""
    writer = MMDBWriter(
        ip_version, "Test-City", languages=["en", "de"], ipv4_compatible=ip_version == 6, description="made by a test"
    )
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    made = path.with_suffix(".new")
    writer.to_db_file(str(made))
    made.replace(path)
    return path


def is_open(folder: Path) -> bool:
    """Whether this process holds a file of the folder open."""
    return any(str(folder) in os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())


async def place(file: Path | None, address: str = HOME) -> Mapping[str, str]:
    """What a newly started service says of an address."""
    places = Places(file)
    places.start()
    try:
        return (await places.find([address])).get(address, {})
    finally:
        await places.stop()


@pytest.mark.parametrize(
    ("record", "english", "german"),
    [
        (LONDON, "London, United Kingdom", "London, Vereinigtes Königreich"),
        ({"country": LONDON["country"]}, "United Kingdom", "Vereinigtes Königreich"),
        ({"city": {"names": {"en": "Vienna"}}, "country": {"iso_code": "AT"}}, "Vienna, AT", "Vienna, AT"),
        ({"city": {"names": {"de": "Wien"}}}, "Wien", "Wien"),
        ({"city": "Vienna", "country": "AT"}, "Vienna, AT", "Vienna, AT"),
        ({"city": {"names": {"en": "A\x1b[31m\u202eB"}}}, "A[31mB", "A[31mB"),
        ({"city": {"names": {"en": "x" * 300}}}, "x" * 100, "x" * 100),
    ],
    ids=["cities", "countries alone", "no German", "only German", "plain names", "what no terminal shows", "too long"],
)
async def test_a_place_has_a_name_in_each_language(tmp_path: Path, record: object, english: str, german: str) -> None:
    file = write(tmp_path / "places.mmdb", {"81.2.69.0/24": record})
    assert await place(file) == {"en": english, "de": german}


@pytest.mark.parametrize(
    "record",
    [{}, {"city": 7}, {"city": {"names": ["London"]}}, {"city": {"names": {"en": 7}}}, {"country": None}, {"x": "y"}],
    ids=["nothing", "a number", "a list", "a number as the name", "null", "something else"],
)
async def test_a_record_of_another_shape_is_no_place(tmp_path: Path, record: dict[str, object]) -> None:
    known = {name: value for name, value in record.items() if value is not None}
    assert await place(write(tmp_path / "places.mmdb", {"81.2.69.0/24": known})) == {}


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "192.168.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "192.0.2.10", "::1", "fe80::1", "fd00::1",
        NOWHERE, "2a02::1", "", "testclient", "81.2.69.160/24", "81.2.69.160 ", "999.1.1.1", "0",
    ],
)  # fmt: skip
async def test_what_is_private_or_unknown_has_no_place(tmp_path: Path, address: str) -> None:
    """Also where the file knows one: everybody's 10.0.0.1 is somewhere else."""
    private = ("10.0.0.0/8", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "192.0.2.0/24")
    networks = dict.fromkeys((*private, "fe80::/10", "fd00::/8", "81.2.69.0/24"), LONDON)
    file = write(tmp_path / "places.mmdb", networks)
    assert await place(file, address) == {}
    assert await place(file) != {}


async def test_addresses_of_both_kinds_are_found(tmp_path: Path) -> None:
    file = write(tmp_path / "six.mmdb", {"2001:218::/32": LONDON, "81.2.69.0/24": LONDON})
    assert (await place(file, SIXTH))["en"] == (await place(file))["en"] == "London, United Kingdom"
    four = write(tmp_path / "four.mmdb", {"81.2.69.0/24": LONDON}, ip_version=4)
    places = Places(four)
    assert (await places.find([SIXTH, HOME])).keys() == {HOME}, "a file of IPv4 alone knows no other"
    await places.stop()


def _truncated(path: Path) -> None:
    content = write(path, {"81.2.69.0/24": LONDON}).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _scrambled(path: Path) -> None:
    """The header is whole, what it leads to is not."""
    content = write(path, {"81.2.69.0/24": LONDON}).read_bytes()
    header = content.index(b"\xab\xcd\xefMaxMind.com")
    path.write_bytes(b"\xff" * header + content[header:])


def _with_header(header: bytes) -> bytes:
    return b"\0" * 64 + b"\xab\xcd\xefMaxMind.com" + header


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no database"),
        _truncated,
        _scrambled,
        lambda path: path.write_bytes(_with_header(b"")),
        lambda path: path.write_bytes(_with_header(b"\xe0")),
        lambda path: path.write_bytes(_with_header(b"\xe1\x41a\x41b")),
        lambda path: path.write_bytes(_with_header(b"\x41a")),
    ],
    ids=[
        "missing", "a directory", "empty", "a text", "cut off", "scrambled", "no header", "an empty header",
        "another header", "a text as the header",
    ],
)  # fmt: skip
async def test_a_broken_file_is_a_warning_and_no_place(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    file = tmp_path / "places.mmdb"
    spoil(file)
    with capture_logs() as logs:
        assert await place(file) == {}
    warned = [each for each in logs if each["event"] == "places.unreadable"]
    assert [(each["log_level"], each["file"]) for each in warned] == [("warning", str(file))]


async def test_the_warning_is_there_at_start(tmp_path: Path) -> None:
    with capture_logs() as logs:
        Places(tmp_path / "missing.mmdb").start()
    assert [each["event"] for each in logs] == ["places.unreadable"]


async def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    file, other = tmp_path / "places.mmdb", {"city": {"names": {"en": "Linköping"}}}
    places = Places(write(file, {"81.2.69.0/24": LONDON}))
    places.start()
    assert (await places.find([HOME])).keys() == {HOME}
    write(file, {"89.160.20.0/24": other})
    assert await places.find([HOME, ELSEWHERE]) == {ELSEWHERE: {"en": "Linköping", "de": "Linköping"}}
    file.unlink()
    assert await places.find([ELSEWHERE]) == {}
    write(file, {"81.2.69.0/24": LONDON})
    assert (await places.find([HOME])).keys() == {HOME}
    assert is_open(tmp_path)
    file.write_bytes(b"written over in place, while it is open")
    assert await places.find([HOME]) == {}
    await places.stop()
    assert not is_open(tmp_path)


async def test_without_a_file_nothing_is_known_and_nothing_is_logged() -> None:
    with capture_logs() as logs:
        assert await place(None) == {}
    assert logs == []


async def test_people_and_administrators_see_where_a_session_is(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary
) -> None:
    file = write(tmp_path / "places.mmdb", {"81.2.69.0/24": LONDON})
    async with running(postgres, database_template, tmp_path, clock, canary, places_file=str(file)) as rig:
        user = await rig.person()
        far, near = rig.browser(HOME), rig.browser("10.0.0.7")
        for browser in (far, near):
            await sign_in_here(rig, browser, user)
        page = await far.open(f"{ISSUER}/account")
        assert f"{HOME} · London, United Kingdom · " in page.body
        assert "10.0.0.7 · signed in" in page.body
        far.client.headers["Accept-Language"] = "de"
        page = await far.open(f"{ISSUER}/account")
        assert f"{HOME} · London, Vereinigtes Königreich · " in page.body
        found = (await call(rig, "GET", "/sessions", user_id=user.id)).json()["items"]
        assert {each["address"]: each["place"] for each in found} == {
            HOME: {"en": "London, United Kingdom", "de": "London, Vereinigtes Königreich"},
            "10.0.0.7": {},
        }
        file.write_bytes(b"broken")
        assert (await far.open(f"{ISSUER}/account")).status == 200
        assert (await call(rig, "GET", "/sessions", user_id=user.id)).json()["items"][0]["place"] == {}
