"""Commands that the documents show are commands that there are."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from watchword.cli import app

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS = sorted(DOCS.glob("*.md"))
_COMMAND = re.compile(r"(?:^|[ \"])watchword ((?:[a-z-]+)(?: .*)?)$")


def shown() -> list[str]:
    """What follows the word `watchword` in each line of shell in the documents."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
            lines = [line.partition(" #")[0].rstrip() for line in block.splitlines()]
            found += [match[1] for line in lines if (match := _COMMAND.search(line))]
    return found


@pytest.mark.parametrize("command", shown())
def test_a_command_in_the_documents_exists_with_its_options(command: str) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("watchword", shlex.split(command), resilient_parsing=False)
    words = [*context._protected_args, *context.args]
    while words and hasattr(group, "commands"):
        group = group.commands[words[0]]
        context = group.make_context(words[0], words[1:], parent=context)
        words = [*context._protected_args, *context.args]
    assert not hasattr(group, "commands"), "a command, not a group of them"


def test_the_documents_show_commands() -> None:
    assert len(shown()) > 30
