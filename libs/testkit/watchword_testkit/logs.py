"""Log lines of the code under test: visible, and searchable as data."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog

# As in production: these libraries are heard from WARNING up only.
_QUIET = ("authlib", "httpx2", "httpcore2", "httpx", "httpcore", "uvicorn", "asyncio", "sqlalchemy", "nats")
_lines: list[dict[str, Any]] = []


def pytest_configure() -> None:
    """From the start, so that session fixtures log alike."""
    _configure()


def _configure() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _collect,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=_print_logger,
        cache_logger_on_first_use=False,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def log_lines() -> list[dict[str, Any]]:
    """The structlog lines of this test so far, each a dictionary with `event` and `level`; they are printed as JSON."""
    _configure()  # a test may have configured logging itself
    _lines.clear()
    return _lines


def _collect(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    _lines.append(dict(line))
    return line


def _print_logger(*_names: object) -> structlog.PrintLogger:
    """Prints to what is standard output now: pytest replaces it for each test."""
    return structlog.PrintLogger(sys.stdout)
