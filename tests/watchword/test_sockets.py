"""A port in use is noticed before anything else starts, and said plainly."""

import socket

import pytest

from watchword.embedded.process import StartError
from watchword.sockets import listen


def test_one_port_listens_at_every_loopback_address() -> None:
    opened = listen(0)
    try:
        assert len({each.getsockname()[1] for each in opened}) == 1
        for each in opened:
            socket.create_connection(each.getsockname()[:2], timeout=1).close()
    finally:
        for each in opened:
            each.close()


def test_a_port_in_use_is_refused_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartError, match=rf"port {taken.getsockname()[1]} is in use.*--port"):
            listen(taken.getsockname()[1])
