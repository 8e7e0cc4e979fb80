"""SIGKILL of a running service at random moments, and the state of the real machine afterwards."""

from __future__ import annotations

import random
import time
from pathlib import Path

from .editing import DEBOUNCE, RECLAIM
from .policy import MIB, look, run, wait_for
from .served import SECONDS, Service, content

__all__ = ("killed",)

_LONGEST = 0.6
"""Seconds after a change's rest in which it is over for sure, or nearly."""


def killed(directory: Path, times: int, chance: random.Random) -> int:
    """Kill a service so many times while it takes over an edit; returns how often it was in time.

    After each kill `recover` leaves the policy of before or after, committed and verified; a
    service started then brings the file's, without a restart of the kdamond.
    """
    service = Service(directory, "--on-exit", "remove")
    service.put("r.yaml", RECLAIM.format(size=100))
    service.start()
    done = 0
    try:
        assert service.reloaded(), service.log.read_text("utf-8")
        pid, size = content("0/pid"), 100
        for number in range(times):
            told = len(service.events("reload"))
            begin = service.put("r.yaml", RECLAIM.format(size=size + 1))
            moment = begin + DEBOUNCE + chance.uniform(-_LONGEST / 2, _LONGEST)
            time.sleep(max(moment - time.monotonic(), 0))
            service.kill()
            recovered = run("recover")
            assert recovered.code == 0, (number, recovered.err)
            now = _size()
            assert now in (size, size + 1), (number, now)
            assert run("diff").code == 0, number
            done += now == size + 1
            size += 1
            service.start()
            assert service.reloaded(told + 2 if _told(service, told) else told + 1)
            assert wait_for(lambda wanted=size: _size() == wanted, SECONDS)
            assert run("diff").code == 0, number
            assert content("0/pid") == pid, (number, "another kdamond")
    finally:
        service.end()
    assert look()["nr_kdamonds"], "the tree can be read"
    return done


def _told(service: Service, before: int) -> bool:
    """Return whether the service had reported the edit before it was killed."""
    return len(service.events("reload")) > before


def _size() -> int:
    return int(content("0/contexts/0/schemes/0/quotas/bytes") or "0") // MIB
