"""Log lines: one JSON object each, event name first."""

import logging
import sys
import traceback
from typing import Final, TextIO

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger

from watchword_events.names import Service

# These libraries write whole requests, tokens or query strings at INFO or DEBUG.
_QUIET: Final = (
    "authlib",
    "httpx2",
    "httpcore2",
    "httpx",
    "httpcore",
    "uvicorn.access",
    "asyncio",
    "sqlalchemy",
    "nats",
)

_FRAMES: Final = 12


def configure(service: Service | str, level: str = "info", stream: TextIO | None = None) -> None:
    """Every later log line of this process is JSON with `service`; lines of libraries too, from WARNING up.

    stream: where they go; standard output when left out.
    """
    out = sys.stdout if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(str(service)),
        _of_trace,
    ]
    structlog.configure(
        processors=[
            *shared,
            _place_of_exception,
            _event_first,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _place_of_exception,
                _event_first,
                structlog.processors.JSONRenderer(serializer=_serialize),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.INFO))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _named(service: str) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict.setdefault("service", service)
        return event_dict

    return add


def _of_trace(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """The trace that is recorded, as `trace_id`; nothing where none is."""
    context = trace.get_current_span().get_span_context()
    if context.trace_flags.sampled:
        event_dict["trace_id"] = f"{context.trace_id:032x}"
    return event_dict


def _place_of_exception(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Class and frames of an exception. Not its text: that of a database error holds the values of the row."""
    error = event_dict.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        event_dict["exception"] = type(error).__qualname__
        event_dict["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event_dict


def _event_first(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    return {"event": event_dict.pop("event", ""), **event_dict}


def _serialize(value: object, **_options: object) -> str:
    return orjson.dumps(value, default=str).decode()
