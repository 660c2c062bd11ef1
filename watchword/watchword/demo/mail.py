"""The process of the demo's mail: it listens first and loads what it needs then, as `saml` does."""

import asyncio
import json
import socket
import sys
from pathlib import Path

from watchword.demo import HOST


def main() -> None:
    """Serves as the orders on standard input say: `{"port": …, "smtp_port": …, "directory": …}`."""
    orders = json.load(sys.stdin)
    with (
        socket.create_server((HOST, int(orders["port"]))) as pages,
        socket.create_server((HOST, int(orders["smtp_port"]))) as smtp,
    ):
        from watchword.demo.mailbox import serve

        asyncio.run(serve(Path(orders["directory"]), pages=pages, smtp=smtp))


if __name__ == "__main__":
    main()
