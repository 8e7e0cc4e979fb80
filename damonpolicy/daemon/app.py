"""The complete service: its jobs, its signals, and its notifications to systemd.

The caller that stops a service waits for it, whatever a job computes. So after a while an alarm
raises `Late` anywhere in the one thread, except during a transaction, whose waits have deadlines.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from damonpolicy.base import log
from damonpolicy.base.errors import Busy, DamonPolicyError
from damonpolicy.base.handlers import handled
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.reload import HELD, Outcome, Reloader, ReloadJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.scheduler import AliveJob, Service, Wake
from damonpolicy.daemon.sd_notify import Notifier
from damonpolicy.daemon.watch import Watch
from damonpolicy.engine.neutral import rest
from damonpolicy.engine.signals import writing
from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.waiting import meanwhile
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.process_events import ProcessEvents, listen
from damonpolicy.policy.source.content import without_alarm

if TYPE_CHECKING:
    from damonpolicy.daemon.metrics import Exporter

__all__ = ("Late", "Wishes", "ending", "serve", "within")

_GRACE = 5.0
"""Seconds that a job may continue after the signal that ends the service."""
_LAST = 60.0
"""Seconds for the final steps: less than systemd allows a unit to stop."""
_ONCE_MORE = 0.5
"""Seconds between two tries: the first may hit a transaction, or code that catches all errors."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a service is asked for beside its policies."""

    variables: Sequence[str] = ()
    settings: Sequence[str] = ()
    debounce: float = 0.5
    """Seconds."""
    remove: bool = False
    """Whether policies end with it."""
    metrics: str = ""
    """Where to serve metrics, empty for nowhere."""


_NONE = Wishes()


def serve(machine: Machine, places: Places, paths: Sequence[str], wishes: Wishes = _NONE) -> bool:
    """Keep a machine under the policies of some paths until a signal ends it.

    Returns whether policies were ended, as is wished.
    """
    without_alarm()
    notifier, wake = Notifier(), Wake()
    keeper = Keeper(machine, places, paths)
    reloader = Reloader(
        keeper,
        variables=wishes.variables,
        settings=wishes.settings,
        debounce=wishes.debounce,
    )
    events = listen(machine)
    jobs = _Jobs(reloader, events)
    exporter = _exporter(wishes.metrics, jobs.record)
    service = jobs.service(wake, notifier, exporter)

    def hint() -> None:
        jobs.reload.hint()
        wake.now()

    def again(*_: object) -> None:
        notifier.reloading()
        jobs.reload.again()
        wake.now()

    def stop(*_: object) -> None:
        service.stop()
        within(_GRACE)

    watch = Watch([*paths, *wishes.variables], hint)
    jobs.reload.rearm = watch.rearm
    handlers = {signal.SIGHUP: again, signal.SIGTERM: stop, signal.SIGINT: stop}
    ends = [notifier.stopping, watch.stop, jobs.record.remove]
    ends += [exporter.stop] if exporter else []
    ends += [events.close] if events is not None else []
    with closing(wake), ending(), handled(handlers), meanwhile(service.waiting):
        watch.start()
        _run(service, lambda: notifier.ready(_line(reloader.outcome, reloader.held)), ends)
        return _last(keeper, remove=wishes.remove)


class _Jobs:
    """The jobs of a service, and what they tell each other."""

    def __init__(self, reloader: Reloader, events: ProcessEvents | None) -> None:
        keeper = reloader.keeper
        self.reloader = reloader
        self.reload = ReloadJob(reloader)
        self.follow = FollowJob(Follower(keeper, events))
        self.feed = FeedJob(keeper)
        self.tune = TuneJob(keeper)
        self.observe = ObserveJob(keeper, Repairer(keeper))
        self.record = RecordJob(reloader, self.follow.follower, self.feed, self.tune, self.observe)

    def service(self, wake: Wake, notifier: Notifier, exporter: Exporter | None) -> Service:
        """Put them together."""

        def told(outcome: Outcome | None) -> None:
            notifier.ready(_line(outcome, self.reloader.held))
            self.record.count(outcome)
            if outcome is not None and outcome.kind in ("applied", "invalid"):
                self.observe.due = self.tune.due = 0.0

        def record_soon() -> None:
            self.record.due = 0.0

        machine = self.reloader.keeper.machine
        jobs = [self.reload, self.follow, self.tune, self.feed, self.observe, self.record]
        service = Service(machine, wake, jobs)
        self.reload.told, self.observe.told, service.failed = told, record_soon, record_soon
        self.record.guards = service.guards
        if exporter:
            self.record.told = exporter.publish
        if notifier.interval:
            service.jobs.append(AliveJob(machine, notifier, notifier.interval))
        return service


def _run(service: Service, ready: Callable[[], None], ends: Sequence[Callable[[], None]]) -> None:
    """Run until a signal arrives, and end soon afterwards."""
    try:
        service.run(ready)
    except Late:
        log.warning("ends", reason=f"a job took longer than {_GRACE:g} s: it was broken off")
    finally:
        within(0)
        for end in ends:
            end()


def _last(keeper: Keeper, *, remove: bool) -> bool:
    """Leave the machine in a state that needs no service; return whether policies were ended."""
    within(_LAST)
    try:
        if remove:
            return keeper.leave()
        try:
            with contained():
                if any(each.feeds for each in keeper.kdamonds()):
                    rest(keeper.machine, keeper.places, keeper.owner)
        except DamonPolicyError as error:
            log.warning("ends", reason=f"goals keep the last number that was fed: {error}")
    except Late:
        message = f"the machine was not free within {_LAST:g} s: everything stays as it is"
        raise Busy(message, hint="another damonpolicy is changing it") from None
    finally:
        within(0)
    return False


def _exporter(address: str, record: RecordJob) -> Exporter | None:
    """Serve metrics if requested; otherwise their library is not even imported."""
    if not address:
        return None
    from damonpolicy.daemon.metrics import Exporter

    return Exporter(address, record.figures)


def _line(outcome: Outcome | None, held: Sequence[str]) -> str:
    """Return the line for `systemctl status`."""
    if held:
        return f"waits for {held[0]}: {HELD}"
    if outcome is None:
        return "waiting for policies"
    if outcome.ok:
        return f"generation {outcome.generation}"
    errors = sum(each.severity == "error" for each in outcome.diagnostics)
    what = outcome.message or f"{errors} errors in the policies"
    return f"generation {outcome.generation}, not what the files say: {what}"


class Late(BaseException):
    """Raised by the alarm; not an Exception, so that nothing of ours swallows it."""


@contextmanager
def ending() -> Iterator[None]:
    """Enable `within` in a block; it works only in the main thread."""
    with handled({signal.SIGALRM: _alarm}):
        try:
            yield
        finally:
            within(0)


def within(seconds: float) -> None:
    """Raise Late after the given seconds, which replace earlier ones; 0 means never."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, seconds, _ONCE_MORE if seconds else 0)


def _alarm(*_: object) -> None:
    if not writing():
        raise Late
