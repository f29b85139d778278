"""Check that a connection stays on this machine: otherwise a token needs TLS (RFC 7628 section 4, RFC 6750 5.3)."""

from __future__ import annotations

import ipaddress
import socket


def is_local(connected: socket.socket) -> bool:
    """Whether the peer is this machine: a Unix socket or loopback, where only root can eavesdrop.

    Raises:
        OSError: the socket is not connected.
    """
    if connected.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(connected.getpeername()[0].partition("%")[0]).is_loopback
