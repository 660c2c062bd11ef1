"""What commands show of things: columns, one below the other where a terminal is too narrow, and nothing that acts."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

ROWS = [
    {"name": "Wiki", "enabled": True, "client_id": "a9842e06-3b47-451d-8883-50158a628050"},
    {"name": "Tickets of the other house", "enabled": False, "client_id": "b"},
]
COLUMNS = ("name", "enabled", "client_id")
SHOW = "import json, sys; from watchword.commands.remote import show; show(*json.loads(sys.argv[1]), as_json=False)"
TELL = "import json, sys; from watchword.commands.remote import tell; tell(json.loads(sys.argv[1]), as_json=False)"
LINE = "import json, sys; from watchword.commands.events import _line; print(_line(json.loads(sys.argv[1])))"


def piped(code: str, *given: object) -> list[str]:
    """What a script reads."""
    command = [sys.executable, "-c", code, json.dumps(given if len(given) > 1 else given[0])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def at_a_terminal(columns: int) -> list[str]:
    """What somebody sees at a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", SHOW, json.dumps([ROWS, COLUMNS])]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run(command, stdout=theirs, check=True, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return seen.decode().split("\r\n")


TABLE = [
    "name                        enabled  client id",
    "Wiki                        True     a9842e06-3b47-451d-8883-50158a628050",
    "Tickets of the other house  False    b",
]


def test_things_stand_in_columns() -> None:
    assert piped(SHOW, ROWS, COLUMNS) == TABLE, "a script gets the same lines however narrow a terminal is"
    assert at_a_terminal(80) == [*TABLE, ""]


def test_where_they_do_not_fit_each_stands_by_itself() -> None:
    assert at_a_terminal(60) == [
        "name       Wiki",
        "enabled    True",
        "client id  a9842e06-3b47-451d-8883-50158a628050",
        "",
        "name       Tickets of the other house",
        "enabled    False",
        "client id  b",
        "",
    ]


@pytest.mark.parametrize("evil", ["\x1b[2J", "a\nb", "\x9b31m", "\r", "\u202e", "\x00"])
def test_no_name_speaks_to_the_terminal(evil: str) -> None:
    for lines in (
        piped(SHOW, [{"name": f"Wi{evil}ki"}], ["name"]),
        piped(TELL, {"name": f"Wi{evil}ki"}),
        piped(LINE, {"time": "now", "type": "user.updated", "data": {"name": f"Wi{evil}ki"}}),
    ):
        assert evil not in "\n".join(lines)
        assert "ki" in lines[-1]
        assert len(lines) <= 2
