"""The service put together: its jobs, its signals, and what systemd is told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from damonpolicy.daemon.feed import FeedJob
from damonpolicy.daemon.figures import figures
from damonpolicy.daemon.follow import Follower, FollowJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.notify import Notifier
from damonpolicy.daemon.observe import ObserveJob
from damonpolicy.daemon.record import RecordJob
from damonpolicy.daemon.reload import HELD, Outcome, Reloader
from damonpolicy.daemon.repair import Repairer
from damonpolicy.daemon.service import AliveJob, ReloadJob, Service, leave
from damonpolicy.daemon.tune import TuneJob
from damonpolicy.daemon.wake import Wake
from damonpolicy.daemon.watch import Watch
from damonpolicy.engine.places import Places
from damonpolicy.engine.waiting import meanwhile
from damonpolicy.kernel.process_events import listen
from damonpolicy.kernel.processes import Table
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.source.content import without_alarm

if TYPE_CHECKING:
    from damonpolicy.daemon.exporter import Exporter

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
    metrics: str = "",
) -> bool:
    """Keep a machine under the policies of some paths until a signal ends it.

    ``debounce`` is in seconds; ``metrics`` is where to serve metrics, empty for nowhere.
    Returns whether policies were ended, as ``remove`` asks.
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
    feed = FeedJob(keeper, places, reloader.spacing)
    tune = TuneJob(follow.follower)
    observe = ObserveJob(keeper, places, Repairer(reloader))
    record = RecordJob(reloader, follow.follower, feed, tune, observe)
    exporter = _exporter(metrics, record, tune.errors)

    def told(outcome: Outcome | None) -> None:
        notifier.ready(_line(outcome, reloader.held))
        record.count(outcome)
        if outcome is not None and outcome.kind in ("applied", "invalid"):
            observe.due = tune.due = 0.0
        elif exporter:
            exporter.publish()

    def observed() -> None:
        record.due = 0.0
        if exporter:
            exporter.publish()

    reload.told, observe.told = told, observed
    service = Service(machine, wake, [reload, follow, tune, feed, observe, record])
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
    with closing(wake), _signals(handlers), meanwhile(service.waiting):
        watch.start()
        try:
            service.run(lambda: notifier.ready(_line(reloader.outcome, reloader.held)))
        finally:
            for end in (notifier.stopping, watch.stop, record.remove):
                end()
            if exporter:
                exporter.stop()
            if events is not None:
                events.close()
        return leave(reloader) if remove else False


def _exporter(
    address: str, record: RecordJob, errors: Callable[[], Mapping[str, float]] = dict
) -> Exporter | None:
    """Serve metrics, where that is asked for; else their library is not even imported."""
    if not address:
        return None
    from damonpolicy.daemon.exporter import Exporter

    return Exporter(address, lambda: figures(record, errors))


def _line(outcome: Outcome | None, held: Sequence[str]) -> str:
    """Return what `systemctl status` shows."""
    if held:
        return f"waits for {held[0]}: {HELD}"
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
