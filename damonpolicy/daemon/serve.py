"""The service put together: its jobs, its signals, and what systemd is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from damonpolicy.daemon.feed import FeedJob
from damonpolicy.daemon.follow import Follower, FollowJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.notify import Notifier
from damonpolicy.daemon.record import RecordJob
from damonpolicy.daemon.reload import Outcome, Reloader
from damonpolicy.daemon.service import AliveJob, ReloadJob, Service, leave
from damonpolicy.daemon.tune import TuneJob
from damonpolicy.daemon.wake import Wake
from damonpolicy.daemon.watch import Watch
from damonpolicy.engine.places import Places
from damonpolicy.kernel.process_events import listen
from damonpolicy.kernel.processes import Table
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.source.content import without_alarm

__all__ = ("serve",)


def serve(
    machine: Machine,
    places: Places,
    paths: Sequence[str],
    *,
    variables: Sequence[str] = (),
    settings: Sequence[str] = (),
    debounce: float = 0.5,
    remove: bool = False,
) -> bool:
    """Keep a machine under the policies of some paths until a signal ends it.

    ``debounce`` is in seconds. Returns whether policies were ended, as ``remove`` asks.
    """
    without_alarm()
    notifier, wake = Notifier(), Wake()
    reloader = Reloader(
        machine, places, paths, variables=variables, settings=settings, debounce=debounce
    )
    keeper = Keeper(machine, places, reloader.owner)
    reload = ReloadJob(reloader)
    events = listen(machine)
    follow = FollowJob(Follower(reloader, keeper, Table(machine)), events)
    feed = FeedJob(keeper, places)
    tune = TuneJob(follow.follower)
    record = RecordJob(reloader, follow.follower, feed, tune)

    def told(outcome: Outcome | None) -> None:
        notifier.ready(_line(outcome))
        record.count(outcome)

    reload.told = told
    service = Service(machine, wake, [reload, follow, feed, tune, record])
    if notifier.interval:
        service.jobs.append(AliveJob(machine, notifier, notifier.interval))

    def hint() -> None:
        reload.hint()
        wake.now()

    def again() -> None:
        notifier.reloading()
        reload.again()
        wake.now()

    watch = Watch([*paths, *variables], hint)
    reload.rearm = watch.rearm
    handlers = {signal.SIGHUP: again, signal.SIGTERM: service.stop, signal.SIGINT: service.stop}
    with _signals(handlers):
        watch.start()
        try:
            service.run(lambda: notifier.ready(_line(reloader.outcome)))
        finally:
            notifier.stopping()
            watch.stop()
            record.remove()
            if events is not None:
                events.close()
        return leave(reloader) if remove else False


def _line(outcome: Outcome | None) -> str:
    """Return what `systemctl status` shows."""
    if outcome is None:
        return "waiting for policies"
    if outcome.ok:
        return f"generation {outcome.generation}"
    errors = sum(each.severity == "error" for each in outcome.diagnostics)
    what = outcome.message or f"{errors} errors in the policies"
    return f"generation {outcome.generation}, not what the files say: {what}"


@contextmanager
def _signals(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_, handler=handler: handler())
        for number, handler in handlers.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
