"""An address of this machine that is not loopback: what libpq takes for another machine.

A machine without a network gets one for as long as the test lasts, so that no rule about the open network goes
untested there. Nothing is sent anywhere: the address is our own.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RESERVED: Final = "192.0.2.1"
"""For documentation and examples (RFC 5737): nobody has it."""
_ALIAS: Final = b"lo:ww"
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x891C, 0x8913, 0x8914, 1


@contextmanager
def not_loopback() -> Iterator[str]:
    """The address that others would use; where there is none, one on the loopback interface, which takes root."""
    if found := _own():
        yield found
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for request, address in ((_SIOCSIFADDR, RESERVED), (_SIOCSIFNETMASK, "255.255.255.255")):
            told = struct.pack("16sHH4s8x8x", _ALIAS, socket.AF_INET, 0, socket.inet_aton(address))
            try:
                fcntl.ioctl(asking, request, told)
            except PermissionError:
                raise AssertionError("this machine has loopback alone: run as root, to give it an address") from None
        try:
            yield RESERVED
        finally:
            flags = struct.unpack_from("16xH", fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16s24x", _ALIAS)))[0]
            fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sH22x", _ALIAS, flags & ~_IFF_UP))


def _own() -> str | None:
    """Which of our addresses faces the world; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((RESERVED, 9))
        except OSError:
            return None
        address = str(asking.getsockname()[0])
    return None if address.startswith("127.") or address == RESERVED else address
