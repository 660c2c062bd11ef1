"""HTTP clients for tests."""

import ssl
from functools import cache
from typing import Any

import httpx2


def http_client(**options: Any) -> httpx2.AsyncClient:
    """A client that takes nothing from the environment. options: as of httpx2.AsyncClient; close it at the end.

    All share one TLS context: loading the authorities of the world costs more than most tests do.
    """
    return httpx2.AsyncClient(verify=_tls(), trust_env=False, **options)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
