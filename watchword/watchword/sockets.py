"""Listening sockets, made before anybody serves on them so that a port in use is noticed first."""

import errno
import socket

from watchword.embedded.process import StartError

LOOPBACK = ("127.0.0.1", "::1")
_BACKLOG = 2048


def listen(port: int, hosts: tuple[str, ...] = LOOPBACK) -> list[socket.socket]:
    """Sockets that listen on the port at each host; at ::1 only where there is IPv6.

    port: 0 for any free one, the same at each host. Raises StartError when the port is in use.
    """
    found: list[socket.socket] = []
    try:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                found.append(_bound(family, host, port))
            except OSError as error:
                if family is socket.AF_INET6 and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    continue
                raise
            port = port or found[0].getsockname()[1]
    except OSError as error:
        for opened in found:
            opened.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"port {port} is in use by another program: end that, or choose another port with --port"
            ) from None
        if error.errno == errno.EACCES:
            raise StartError(f"this account may not listen on port {port}: choose one above 1023 with --port") from None
        raise StartError(f"cannot listen on port {port}: {error.strerror}") from None
    return found


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
        made.set_inheritable(True)
    except OSError:
        made.close()
        raise
    return made
