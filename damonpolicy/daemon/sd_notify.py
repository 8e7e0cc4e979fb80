"""Notifications to systemd: ready, reloading, stopping, alive (sd_notify(3), systemd.service(5)).

Without ``$NOTIFY_SOCKET`` there are none.
"""

from __future__ import annotations

import os
import socket
import time

__all__ = ("Notifier",)


class Notifier:
    """The sender of states to systemd's socket."""

    def __init__(self, address: str | None = None) -> None:
        named = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = f"\0{named[1:]}" if named.startswith("@") else named

    @property
    def interval(self) -> float | None:
        """Seconds between two signs of life, half of systemd's limit; None if it has none."""
        text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        if not self._address or not text.isdecimal() or pid not in ("", str(os.getpid())):
            return None
        return int(text) / 2e6

    def ready(self, status: str = "") -> None:
        """Report that the service is up, or has reloaded, with a line for `systemctl status`."""
        line = f"STATUS={' '.join(status.split())}"
        self._send("READY=1", *([line] if status else []))

    def reloading(self) -> None:
        """Report that a reload begins; `ready` has to follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Report that the service ends."""
        self._send("STOPPING=1")

    def alive(self, longer: float = 0.0) -> None:
        """Send a sign of life; ask for more seconds if a start or reload takes long."""
        more = [f"EXTEND_TIMEOUT_USEC={longer * 1e6:.0f}"] if longer else []
        self._send("WATCHDOG=1", *more)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            try:
                connection.connect(self._address)
                connection.sendall("\n".join(lines).encode("utf-8", "replace"))
            except OSError:
                return  # systemd itself restarts, or is gone: the machine is more important
