"""Events of processes that start, change and end, from the process events connector.

Messages of a netlink socket (include/uapi/linux/cn_proc.h, connector.h): a netlink header, the
connector's, then the event. Needs CAP_NET_ADMIN, and a kernel with CONFIG_PROC_EVENTS.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from damonpolicy.kernel.system.machine import Machine

__all__ = ("ProcessEvents", "listen")

_CONNECTOR = 11  # NETLINK_CONNECTOR
_GROUP = _VALUE = 1  # CN_IDX_PROC, CN_VAL_PROC
_LISTEN = 1  # PROC_CN_MCAST_LISTEN
_DONE = 3  # NLMSG_DONE
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=IIIIHH")
_EVENT = struct.Struct("=IIQ")
_PAIR = struct.Struct("=II")

_FORK, _EXEC, _UID, _COMM, _EXIT = 0x1, 0x2, 0x4, 0x200, 0x80000000
_BUFFER = 1 << 20
"""Bytes for events that wait: about 12,000 of them."""


class ProcessEvents(AbstractContextManager["ProcessEvents"]):
    """A socket with process events; `fileno` is for poll()."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> set[int] | None:
        """Return the pids with events; None if some events were lost."""
        found: set[int] = set()
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: more happened than the queue holds; or no more events come
                return None
            found |= set(changed(data))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(machine: Machine) -> ProcessEvents | None:
    """Start to listen; None without the kernel's support, the rights, or a real machine."""
    if not machine.here:
        return None
    try:
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
    except OSError:
        return None
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        connection.bind((0, _GROUP))
        connection.setblocking(False)
        connection.send(_subscription())
    except OSError:
        connection.close()
        return None
    return ProcessEvents(connection)


def _subscription() -> bytes:
    wish = struct.pack("=I", _LISTEN)
    message = _MESSAGE.pack(_GROUP, _VALUE, 0, 0, len(wish), 0) + wish
    return _HEADER.pack(_HEADER.size + len(message), _DONE, 0, 0, os.getpid()) + message


def changed(data: bytes) -> Iterator[int]:
    """Yield the processes in messages, and ignore events of their other threads."""
    for event in _events(data):
        what = _EVENT.unpack_from(event)[0]
        rest = event[_EVENT.size :]
        # a fork tells of the parent first, all others of the thread and its process alone
        offset = _PAIR.size if what == _FORK else 0
        if what in (_FORK, _EXEC, _UID, _COMM, _EXIT) and len(rest) >= offset + _PAIR.size:
            pid, process = _PAIR.unpack_from(rest, offset)
            if pid == process:
                yield process


def _events(data: bytes) -> Iterable[bytes]:
    found = []
    start = 0
    while start + _HEADER.size + _MESSAGE.size + _EVENT.size <= len(data):
        length = _HEADER.unpack_from(data, start)[0]
        if length < _HEADER.size or start + length > len(data):
            break
        index, value = _MESSAGE.unpack_from(data, start + _HEADER.size)[:2]
        if (index, value) == (_GROUP, _VALUE):
            found.append(data[start + _HEADER.size + _MESSAGE.size : start + length])
        start += (length + 3) & ~3
    return found
