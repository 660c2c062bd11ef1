"""The process of Demo Labs' identity provider: it listens first, and loads pysaml2 then.

That takes a second or two of a processor, for which the start of everything else has better use. So it is told to begin
when Watchword is ready, and whoever comes before it is done waits for that long.
"""

import json
import socket
import sys
from pathlib import Path

from watchword.demo import HOST


def main() -> None:
    """Serves as the orders on standard input say: `{"port": …, "issuer": …, "home": …}`."""
    orders = json.load(sys.stdin)
    with socket.create_server((HOST, int(orders["port"]))) as listening:
        import uvicorn

        from watchword.demo.labs import Labs

        labs = Labs(f"http://{HOST}:{orders['port']}", issuer=str(orders["issuer"]), home=Path(orders["home"]))
        config = uvicorn.Config(labs.app(), access_log=False, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
