"""Reload: apply policy files whenever they have settled with new content.

Content is planned and committed as a whole. An invalid file changes nothing: its last valid content
stays, and the outcome says what is wrong and where. The others are applied, unless the error cannot
be attributed to one file; while one is invalid no policy ends, as it might be in that file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Literal

from damonpolicy.base import log, trust
from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained
from damonpolicy.daemon.files import Settling, Sources
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.scheduler import Job, beat
from damonpolicy.engine.session import Session
from damonpolicy.engine.transaction import FeatureRefused, Terms
from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.plan.loops import carried
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.compile.loading import Compiled, Source, compile_on, located, wanted
from damonpolicy.policy.compile.policies import Overrides, load
from damonpolicy.policy.source.content import Content, gather, signature

__all__ = ("HELD", "Outcome", "ReloadJob", "Reloader")

HELD = "a program has it open for writing"
"""The reason why a file is not applied."""

Kind = Literal["applied", "unchanged", "invalid", "failed", "gone"]
"""``invalid``: some files are wrong; the others are in force, if the error is in these files
alone.
"""

_READ_ANYWAY = 60.0
"""Seconds after which files are read even without a sign of a change."""
_TRY_AGAIN = 5.0
"""Seconds until a failure is tried again, as the machine may have changed."""
_RESERVE = 2.0
"""The allowed increase of the preparation time over the last one."""
_MOST_OFTEN = 0.05
"""Seconds between two looks, however many hints there are."""
_HELD = 5.0
"""Seconds after which a file that is held open for writing is reported."""
_YOUNG = 0.1
"""The least age of files, in seconds, for a preparation before they have settled."""


class _Moved(DamonPolicyError):
    """Raised if files change before they have settled."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a reload: the content's digest, and its errors, with places if possible."""

    kind: Kind
    digest: str
    at: float
    """Seconds since the epoch."""
    generation: int
    message: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the machine is under these policies."""
        return self.kind in ("applied", "unchanged")


class Reloader:
    """The part of a service that reads its policy files, and applies them."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        variables: Sequence[str] = (),
        settings: Sequence[str] = (),
        debounce: float = 0.5,
    ) -> None:
        self.keeper = keeper
        self.variables = tuple(variables)
        self.settings = tuple(settings)
        self.outcome: Outcome | None = None
        self.applies = 0
        """The number of transactions that applied changed files, since the start."""
        self._settling = Settling(debounce)
        self._signature: tuple[object, ...] = ()
        self._content: Content | None = None
        self._read_at = self._tried_at = -_READ_ANYWAY
        self._looked_at = 0.0
        self._early = 0.0
        self._sources = Sources(keeper)
        self._generation = 0
        self._held: tuple[str, ...] = ()
        self._held_since = 0.0
        self._held_told = False

    @property
    def held(self) -> tuple[str, ...]:
        """The files that hold up everything, as somebody has had them open for writing for long.

        One holds up all, as all files are validated together.
        """
        return self._held if self._held_told else ()

    def again(self) -> None:
        """Apply the current content again, as if it had changed."""
        self._settling.forget()
        self._signature = ()

    def next_look(self, now: float) -> float | None:
        """Return when something is due without a change of files, None if nothing is."""
        due = self._settling.rests_at(now)
        if due is not None:
            due = max(due - self._early, now)
        if due is None and self.outcome is not None and not self.outcome.ok:
            due = self._tried_at + _TRY_AGAIN
        return due

    def look(self) -> Outcome | None:
        """Read changed files, and apply settled ones; None if there are none."""
        now, before = self.keeper.machine.monotonic(), self._signature
        content = self._read(now)
        since = None
        if self._signature != before:  # even if they have the same content again
            since = now - (time.time() - content.changed)
            if not self._looked_at <= since <= now:
                since = now  # their clock is another one
        self._looked_at = now
        settled = self._settling.settled(
            content.digest, now, held=bool(content.held), since=since, early=self._early
        )
        self._note_held(content, now)
        failed = self.outcome is not None and not self.outcome.ok
        if not settled and not (
            failed and content.digest == self._settling.taken and now - self._tried_at >= _TRY_AGAIN
        ):
            return None
        self._tried_at = now
        try:
            outcome = self._apply(content)
        except _Moved:
            self._settling.moved()
            return None
        if self.outcome is None or settled or self.outcome.kind != outcome.kind:
            _tell(outcome, self.outcome)
        self.outcome = outcome
        return outcome

    def _note_held(self, content: Content, now: float) -> None:
        """Report once since when nothing is applied, and why."""
        held = content.held if content.digest != self._settling.taken else ()
        if held and not self._held:
            self._held_since = now
        self._held = held
        if not held:
            self._held_told = False
        elif not self._held_told and now - self._held_since >= _HELD:
            self._held_told = True
            log.warning("reload waits", files=list(held), reason=HELD)

    def _read(self, now: float) -> Content:
        """Read all files, unless none has changed."""
        seen = self._sign()
        if (
            self._content is None
            or seen != self._signature
            or self._content.held
            or self._content.young
            or self._content.found  # the fix may be to the mode of a directory above
            or now - self._read_at >= _READ_ANYWAY
        ):
            self._signature, self._read_at = seen, now
            keepers = trust.root_and_we() if trust.guarded(self.keeper.machine.name) else None
            self._content = gather(self.keeper.paths, self.variables, keepers)
        return self._content

    def _sign(self) -> tuple[object, ...]:
        return signature([*self.keeper.paths, *self.variables])

    def _apply(self, content: Content) -> Outcome:
        try:
            with contained():
                gone = self._sources.gone(content)
                if gone:
                    self._await_rest()
                    message = f"`{gone[0]}` is gone: what it held stays as it is"
                    return self._outcome("gone", content, message)
                self._sources.add(content)
                compiled, changed = self._bring(content)
                if not compiled.wrong:
                    self._sources.keep(content)
        except _Moved:
            raise
        except DamonPolicyError as error:
            self._await_rest()
            wrong: Kind = "invalid" if error.diagnostics and not error.undone else "failed"
            hint = f" ({error.hint})" if error.hint and not error.diagnostics else ""
            return self._outcome(wrong, content, f"{error}{hint}", error.diagnostics)
        if not changed:
            self._await_rest()
        self.applies += changed
        kind: Kind = "applied" if changed else "unchanged"
        message = ""
        if compiled.wrong:
            names = ", ".join(f"`{name}`" for name in sorted(compiled.wrong))
            kind, message = "invalid", f"not {names}: what it held before stays as it is"
        return self._outcome(kind, content, message, compiled.found)

    def _await_rest(self) -> None:
        """Wait until prepared content has settled; raises _Moved if it changes.

        So a change is written to the kernel as soon as it may be.
        """
        now, settling = self.keeper.machine.monotonic(), self._settling
        reserve = (now - self._tried_at) * _RESERVE
        self._early = min(reserve, settling.debounce / 2, max(settling.debounce - _YOUNG, 0.0))
        if settling.rested_at <= self._tried_at:
            return  # they had settled when they were read
        self.keeper.machine.sleep(max(settling.rested_at - now, 0.0))
        if self._sign() != self._signature:
            raise _Moved("files changed before they had settled")

    def _outcome(
        self,
        kind: Kind,
        content: Content,
        message: str,
        found: Sequence[Diagnostic] = (),
    ) -> Outcome:
        texts = {each.name: each.text for each in (*content.files, *content.variables)}
        return Outcome(
            kind, content.digest, time.time(), self._generation, message, tuple(found), texts
        )  # fmt: skip

    def _bring(self, content: Content) -> tuple[Compiled, bool]:
        """Bring the machine under content: one transaction, or none if nothing changes.

        Returns the compiled policies, and whether anything changed.
        """
        keeper = self.keeper
        overrides, wrong = Overrides.read(content.variables, self.settings)
        loaded = load(
            content.files, overrides, machine=keeper.machine, found=[*content.found, *wrong]
        )
        if len(content.missing) == len(keeper.paths):
            log.warning("nothing to read", missing=list(keeper.paths))
        source = Source(loaded, keeper.owner)
        with keeper.changing() as session:
            keeper.capabilities = self._can_do()
            compiled = self._compile(source, keeper.capabilities)
            while True:
                try:
                    changed = self._transact(session, compiled)
                except FeatureRefused as refused:
                    keeper.capabilities = refused.capabilities
                    compiled = self._compile(source, keeper.capabilities)
                except _Moved:
                    raise
                except DamonPolicyError as error:
                    compiled = compiled.without(error)
                else:
                    self._generation = session.managed.generation
                    return compiled, changed

    def _compile(self, source: Source, capabilities: Capabilities) -> Compiled:
        machine = self.keeper.machine
        return compile_on([source], machine, capabilities, served=True, shared=self.variables)

    def _can_do(self) -> Capabilities:
        """Detect the kernel's features again, as running kdamonds may show more by now.

        Refused features stay refused, or they would be tried again at each reload.
        """
        machine, known = self.keeper.machine, self.keeper.capabilities
        return known.learned(machine) if known else detect(machine, retrieve(machine).tree)

    def _transact(self, session: Session, compiled: Compiled) -> bool:
        keeper, before = self.keeper, session.managed.policies
        now = {name: carried(before.get(name), each) for name, each in compiled.policies.items()}
        without = "" if compiled.wrong else keeper.owner
        policies = wanted(session.managed, now, without=without)
        terms = Terms(f"reload of {', '.join(keeper.paths)}", when_ready=self._await_rest)
        with located(compiled.spans):
            return keeper.bring(session, policies, compiled.policies, terms) is not None


@dataclass(slots=True)
class ReloadJob(Job):
    """The job that looks at the policy files: on a hint, and every ``poll`` seconds anyway."""

    reloader: Reloader
    rearm: Callable[[], None] = lambda: None
    told: Callable[[Outcome | None], None] = lambda _: None
    """Called with each outcome, when files begin or cease to be held, and after each `again`."""
    poll: float = 2.0
    due: float = 0.0
    _hinted: bool = False
    _asked: bool = False
    _ran: float = -_MOST_OFTEN

    def hint(self) -> None:
        """Note that something may have changed; any thread may call it."""
        self._hinted = True
        self.due = min(self.due, self._ran + _MOST_OFTEN)

    def again(self) -> None:
        """Apply the current content again, as if it had changed; a signal handler may call it."""
        self._asked = True
        self.reloader.again()
        self.due = 0.0

    def run(self) -> None:
        """Apply settled files."""
        asked, self._hinted, self._asked = self._asked, False, False
        self.rearm()
        held = self.reloader.held
        try:
            looked = self.reloader.look()
        except BaseException:
            self._asked |= asked  # a caller that waits for a reload gets its result the next time
            raise
        if looked is not None or asked or held != self.reloader.held:
            self.told(self.reloader.outcome)
        self._ran = self.reloader.keeper.machine.monotonic()
        soon = self.reloader.next_look(self._ran)
        next_poll = beat(self._ran, self.poll)
        self.due = min(next_poll, soon if soon is not None else next_poll)
        if self._hinted:
            self.due = min(self.due, self._ran + _MOST_OFTEN)


def _tell(outcome: Outcome, before: Outcome | None) -> None:
    """Log the result of a reload; notes only if they are new."""
    known = before.diagnostics if before is not None and before.ok else ()
    level: log.Level = "info" if outcome.ok else "warning"
    kind, number, reason = outcome.kind, outcome.generation, outcome.message
    if reason:
        log.emit(level, "reload", result=kind, generation=number, reason=reason)
    else:
        log.emit(level, "reload", result=kind, generation=number)
    for each in outcome.diagnostics:
        if outcome.ok and each in known:
            continue
        place = str(each.span) if each.span else ""
        log.emit(
            "warning" if each.severity == "error" else "info",
            "finding",
            severity=each.severity,
            code=each.code,
            place=place,
            text=each.message,
            hint=each.hint,
        )
