"""What Prometheus asks for: counters that cost a request less than a microsecond, put into words when somebody asks.

Labels are routes as they are written (`/api/v1/users/{user_id}`), never ids, names or anything that a caller chooses.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T", bound=tuple[str, ...])

# The token endpoint answers within a millisecond, a password takes tens of them.
BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LE: Final = (*(str(bound) for bound in BOUNDS_S), "+Inf")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Seen:
    """Answers of one kind. buckets: how many took at most so long, and longer than the bound before."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * len(_LE)
        self.sum_s = 0.0


class Requests(Collector):
    """How long answers took to begin, by method, route and status."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], _Seen] = {}

    def observe(self, method: str, route: str, status: int, took_s: float) -> None:
        """One answer."""
        key = (method, route, status)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        seen.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        seen.sum_s += took_s

    def collect(self) -> Iterator[Metric]:
        """Under the names of OpenTelemetry's semantic conventions."""
        family = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Time until an answer began",
            labels=("http_request_method", "http_route", "http_response_status_code"),
        )
        for (method, route, status), seen in list(self._seen.items()):
            total, buckets = 0, []
            for bound, count in zip(_LE, seen.buckets, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric((method, route, str(status)), buckets, seen.sum_s)
        yield family


class Measured:
    """ASGI: every answer is counted. hot: paths that are found before any router."""

    __slots__ = ("_app", "_hot", "_requests")

    def __init__(self, app: ASGIApp, requests: Requests, hot: Iterable[str]) -> None:
        self._app, self._requests, self._hot = app, requests, frozenset(hot)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observe, began = self._observe, perf_counter()

        # Not a coroutine of its own: that would cost as much as all the counting.
        def measured(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                observe(scope, message["status"], perf_counter() - began)
            return send(message)

        await self._app(scope, receive, measured)

    def _observe(self, scope: Scope, status: int, took_s: float) -> None:
        path, method = scope["path"], scope["method"]
        route = path if path in self._hot else _route(scope)
        self._requests.observe(method if method in _METHODS else "OTHER", route, status, took_s)


def _route(scope: Scope) -> str:
    found = scope.get("route")
    return "none" if found is None else str(found.path)


class Telemetry:
    """The counters of one process. tokens, refusals: of the token endpoint, by grant type and by error."""

    def __init__(self, version: str) -> None:
        self.requests = Requests()
        self.tokens: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.sign_ins: Counter[tuple[str, str]] = Counter()
        self.deliveries: Counter[str] = Counter()
        # From the beginning, so that the first that is given up is seen as a rise.
        self.logouts: Counter[str] = Counter(dict.fromkeys(("delivered", "failed", "given_up"), 0))
        self._version = version

    def text(self, facts: Iterable[Metric]) -> bytes:
        """Everything, with what is true at this moment, in the text format of Prometheus."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self.requests)
        registry.register(_Facts((*self._counted(), *facts)))
        return generate_latest(registry)

    def _counted(self) -> Iterator[Metric]:
        yield gauge("watchword_build_info", "The release", {(self._version,): 1}, "version")
        tokens = {(grant,): count for grant, count in self.tokens.items()}
        yield counter("watchword_tokens_issued", "Tokens issued, by grant type", tokens, "grant")
        refusals = {(error,): count for error, count in self.refusals.items()}
        yield counter("watchword_token_errors", "Refusals of the token endpoint", refusals, "error")
        yield counter("watchword_logins", "Sign-ins, by method and outcome", dict(self.sign_ins), "method", "outcome")
        batches = {(outcome,): count for outcome, count in self.deliveries.items()}
        yield counter("watchword_webhook_deliveries", "Batches for webhooks, by outcome", batches, "outcome")
        logouts = {(outcome,): count for outcome, count in self.logouts.items()}
        yield counter("watchword_logout_deliveries", "Sign-out notices to applications, by outcome", logouts, "outcome")


class _Facts(Collector):
    def __init__(self, facts: tuple[Metric, ...]) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """As they were found."""
        yield from self._facts


def gauge(name: str, help_: str, values: Mapping[T, float], *labels: str) -> Metric:
    """A number that goes up and down. values: by the values of the labels, `()` where there is none."""
    family = GaugeMetricFamily(name, help_, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def counter(name: str, help_: str, values: Mapping[T, float], *labels: str) -> Metric:
    """A number that only grows; its name gets `_total`. values: as above."""
    family = CounterMetricFamily(name, help_, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
