"""Log lines are JSON, event name first."""

import json
import logging

import pytest
import structlog
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from watchword_events.names import Service
from watchword_runtime.logging import configure


@pytest.fixture(autouse=True)
def restored() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_the_event_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Service.TOKEN, "info")
    structlog.get_logger().warning("refresh_token.reused", client_id="c", at=b"bytes")
    structlog.get_logger().debug("not.shown")
    (line,) = capsys.readouterr().out.splitlines()
    parsed = json.loads(line)
    assert next(iter(parsed)) == "event"
    assert parsed["event"] == "refresh_token.reused"
    assert (parsed["service"], parsed["level"], parsed["client_id"]) == ("token", "warning", "c")
    assert parsed["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", [None, "some.library"], ids=["ours", "a library's"])
def test_a_line_names_the_trace_that_is_recorded(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    configure("token")
    logger = logging.getLogger(name) if name else structlog.get_logger()
    for flags in (TraceFlags.SAMPLED, TraceFlags.DEFAULT):
        with use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(flags)))):
            logger.warning("it.happened")
    logger.warning("it.happened")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("trace_id") for line in lines] == [f"{0xABC:032x}", None, None]


def test_lines_of_libraries_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("token")
    logging.getLogger("some.library").warning("it is %s", "so")
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["event"] == "it is so"
    assert parsed["service"] == "token"


@pytest.mark.row(55)
@pytest.mark.parametrize("name", ["authlib", "httpx2", "uvicorn.access", "nats"])
def test_libraries_that_write_whole_requests_are_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("token", "debug")
    logging.getLogger(name).info("GET /callback?code=canary")
    assert "canary" not in capsys.readouterr().out


@pytest.mark.row(55)
@pytest.mark.parametrize("name", [None, "some.library"], ids=["ours", "a library's"])
def test_an_exception_shows_its_place_and_not_its_text(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A database error's text holds the row: e-mail addresses, hashes."""
    configure("token")
    logger = logging.getLogger(name) if name else structlog.get_logger()
    try:
        raise ValueError("Key (email)=(canary@example.com) already exists")
    except ValueError:
        logger.exception("it.failed")
    (line,) = capsys.readouterr().out.splitlines()
    assert "canary" not in line
    parsed = json.loads(line)
    assert parsed["exception"] == "ValueError"
    assert "test_logging.py" in parsed["frames"][-1]
