"""Traces for OpenTelemetry, where `WATCHWORD_OTLP_ENDPOINT` says where to; nothing of this is imported otherwise.

FastAPI makes the spans of its routes, `Traced` those of hot paths; outbox and consumers carry the trace over NATS. What
OpenTelemetry reads from the environment (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, …) counts. Needs the extra `otel`.
"""

from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from watchword_runtime.service import ASGIApp, Receive, Scope, Send
from watchword_web.surfaces import route_path

_HIDDEN: Final = ("url.query", "url.full", "http.target", "http.url")


class Scrub(SpanProcessor):
    """No query string leaves: it may hold codes and states."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The span says that there was one, and not what."""
        for name in _HIDDEN:
            if name in (span.attributes or {}):
                span.set_attribute(name, "REDACTED")

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing."""

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """There is nothing to flush."""
        return True


def start(name: str, endpoint: str) -> TracerProvider:
    """Spans of this process go to the collector. name: of the service, unless OTEL_SERVICE_NAME says one."""
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(Scrub())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)
    return provider


class Traced:
    """ASGI: a span for each request of a hot path, which FastAPI does not see."""

    def __init__(self, app: ASGIApp, hot: frozenset[str]) -> None:
        self._app, self._hot = app, hot
        self._tracer = trace.get_tracer("watchword")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application answers."""
        path = route_path(scope) if scope["type"] == "http" else ""
        if path not in self._hot:
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            f"{scope['method']} {path}",
            context=propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "http.route": path},
        ):
            await self._app(scope, receive, send)
