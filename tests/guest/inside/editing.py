"""Edits of a policy file beside a running service, and the time until the commit."""

from __future__ import annotations

import errno
import statistics
import time
from dataclasses import dataclass

from .policy import KDAMONDS, MIB, wait_for
from .served import SECONDS, Service, Writes, content

__all__ = ("DEBOUNCE", "RECLAIM", "SAMPLE", "Edits", "edited")

DEBOUNCE = 0.5
SAMPLE = 0.005
"""Seconds between two samples of the policy's kdamond."""

RECLAIM = f"""
version: 1
name: reclaim
kdamonds:
  - name: k
    ops: paddr
    targets: [{{{{system_ram: true}}}}]
    intervals: {{{{sample: {SAMPLE * 1000:.0f}ms, aggregation: 100ms}}}}
    schemes:
      - name: s
        action: stat
        quota: {{{{size: {{size}}MiB, every: 1s}}}}
"""
_BYTES = "0/contexts/0/schemes/0/quotas/bytes"
_STATE = KDAMONDS / "0/state"
_BARE = 3
"""Bare commits between two edits."""


@dataclass(frozen=True, slots=True)
class Edits:
    """Seconds of one run."""

    bare: list[float]
    """What a write of `commit` took that hands over nothing new."""
    lags: list[float]
    """From the rename to the end of its commit, beyond the debounce."""

    @property
    def bound(self) -> float:
        """Three bare commits and one sampling interval."""
        return 3 * statistics.median(self.bare) + SAMPLE

    def __str__(self) -> str:
        lags = " ".join(f"{each * 1000:.0f}" for each in self.lags)
        return (
            f"commits ended {statistics.median(self.lags) * 1000:.1f} ms (median) after the debounce,"
            f" allowed {self.bound * 1000:.1f} ms; a bare one takes"
            f" {statistics.median(self.bare) * 1000:.1f} ms; each: {lags}"
        )


def edited(service: Service, times: int) -> Edits:
    """Edit a policy so many times, each as soon as the service has come to rest."""
    found = Edits([], [])
    done = len(service.events("reload"))
    service.put("r.yaml", RECLAIM.format(size=100))
    assert wait_for(lambda: len(service.events("reload")) > done, SECONDS)
    pid = content("0/pid")
    with Writes(_STATE) as writes:
        for size in range(200, 200 + times):
            for _ in range(_BARE):
                found.bare.append(_bare_commit())
            time.sleep(1)  # the service looks at its files again
            writes.forget()
            done = len(service.events("reload"))
            renamed = service.put("r.yaml", RECLAIM.format(size=size))
            found.lags.append(_committed(writes, size) - renamed - DEBOUNCE)
            assert wait_for(lambda before=done: len(service.events("reload")) > before, SECONDS)
            assert service.events("reload")[-1]["result"] == "applied"
            assert content("0/pid") == pid
    return found


def _committed(writes: Writes, size: int) -> float:
    """Return when the commit of a size ended; other writes only look."""
    when = writes.next()
    while content(_BYTES) != str(size * MIB):
        when = writes.next()
    return when


def _bare_commit() -> float:
    """Return what a commit takes that hands over nothing new; the service may be looking just then."""
    while True:
        begin = time.monotonic()
        try:
            _STATE.write_text("commit", encoding="ascii")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(SAMPLE)
        else:
            return time.monotonic() - begin
