"""``damonpolicy status``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base.diagnostics import Diagnostic, as_text
from damonpolicy.base.errors import Busy
from damonpolicy.base.lazy import dataclass
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.options.names import not_applied
from damonpolicy.cli.service import served
from damonpolicy.cli.show.goals import goal_name, known, loop_lines, loops, measure, unfed
from damonpolicy.cli.show.kdamond_text import kdamond_lines
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import read_or
from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.collect.modules import look as look_at_modules
from damonpolicy.observe.status import document as status
from damonpolicy.observe.status.stored_state import Remembered, unsettled, warning
from damonpolicy.observe.watermarks import free_memory
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.show.texts import setting_text
from damonpolicy.plan.state import Managed

if TYPE_CHECKING:
    from damonpolicy.engine.session import Session

_ASLEEP = "the numbers are old: watermarks may keep it asleep, and the service does not wake it"


@subcommand("status")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=names.policies)
@click.option("--update", is_flag=True, help="ask our kdamonds for fresh numbers first")
def command(invocation: Invocation, names: Sequence[str], *, update: bool) -> Result:
    """Show what runs, whose it is, and what it did so far.

    Of some policies or kdamonds (`POLICY/KDAMOND`), if they are named. Numbers are those that the
    kernel last gave to anyone. `--update` asks our own kdamonds now, also for what their schemes select now: that is some commands to each, and changes nothing
    that they do.
    """
    machine = invocation.machine()
    store = Remembered(Store(invocation.places()))
    boot_id = look(machine).boot_id
    managed = store.managed(boot_id)
    about = _about(names, managed)
    now: dict[int, Sequence[Any]] = {}
    if update and not store.unknown:
        from damonpolicy.engine.session import looking, refresh

        with looking(machine, invocation.places(), wait=True) as session:
            refresh(session)
            now = _now(session)
        managed = store.managed(boot_id)
    current = retrieve(machine, managed.settings)
    service = store.service(lambda: served(machine, store.places))
    free = free_memory(machine)
    asked = _asked(managed, service, update=update)
    slots = status.kdamonds(current, managed, asked=asked, free=free)
    lacking = status.lacking(machine, managed, {each.name for each in slots})
    lacking = [each for each in lacking if about(each.kdamond)]
    slots = [each for each in slots if about(each.name)]
    settings = [
        each
        for each in status.settings(current, managed)
        if not names or any(map(about, each.users))
    ]
    modules = [] if names else look_at_modules(machine, current.modules, free)
    seen = _Seen(names, about, managed, current, service, slots, lacking, settings, modules)
    data = seen.document(store.confirmed())
    for each in data["kdamonds"]:
        for scheme, selected in zip(each["schemes"], now.get(each["slot"], ()), strict=False):
            scheme["now"] = selected
    if update:
        measure(machine, data["kdamonds"])
    served_now = service is not None and service["running"]
    asleep = service.get("unasked", ()) if service and served_now and not update else ()
    for target in (each for slot in data["kdamonds"] for each in slot["targets"]):
        if target["pid"]:
            target["process"] = read_or(machine, f"/proc/{target['pid']}/comm")
    return Result(
        _text(data, seen, store, fresh=update or served_now, asleep=asleep),
        data,
        diagnostics=[
            *_findings(data, managed, store, machine.monotonic()),
            *_cgroups(status.drift(current, managed)),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read at one time, of all or of what is named."""

    names: Sequence[str]
    about: Callable[[str], bool]
    managed: Managed
    current: Current
    service: dict[str, Any] | None
    slots: Sequence[status.KdamondStatus]
    lacking: Sequence[status.Lacking]
    settings: Sequence[status.SettingStatus]
    modules: Sequence[ModuleStatus]

    def document(self, confirmed: int) -> dict[str, Any]:
        """Return it as plain data."""
        names, about, managed, current = self.names, self.about, self.managed, self.current
        why_not = unfed(managed, self.service)
        return {
            "generation": managed.generation or None,
            "confirmed": confirmed or None,
            "policies": {
                name: policy.owner
                for name, policy in managed.policies.items()
                if about(name) or any(each.startswith(f"{name}/") for each in names)
            },
            "kdamonds": [known(each.to_json(), self.service, why_not) for each in self.slots],
            "waiting": [each.kdamond for each in self.lacking if each.waits_for],
            "lacking": [each.to_json() for each in self.lacking],
            "settings": [
                {
                    "path": each.path,
                    "value": setting_text(each.value),
                    "original": setting_text(each.original),
                    "users": list(each.users),
                    "drifted": each.drifted,
                }
                for each in self.settings
            ],
            "modules": [] if names else list(current.modules),
            "module_status": [each.to_json() for each in self.modules],
            "free_slots": sum(current.owner(slot, managed) == "free" for slot in current.slots),
            "loops": [
                each
                for each in loops(managed, self.service)
                if about(each["loop"]) or about(each["kdamond"] or "")
            ],
            "service": self.service,
        }


def _about(names: Sequence[str], managed: Managed) -> Callable[[str], bool]:
    """Return a test for whether a policy, or a part of it, was named; without names, all pass.

    Raises UsageError for unknown names.
    """
    kdamonds = [k.full_name for each in managed.policies.values() for k in each.kdamonds]
    applied = [*managed.policies, *kdamonds]
    for name in names:
        if name not in applied:
            raise not_applied(name, applied, "kdamond" if "/" in name else "policy")
    return lambda name: not names or any(f"{name}/".startswith(f"{each}/") for each in names)


def _now(session: Session) -> dict[int, Sequence[Any]]:
    """Ask our own kdamonds what each scheme selects now; by slot."""
    # slow to import
    from damonpolicy.observe.collect import live
    from damonpolicy.observe.collect.running import running

    found: dict[int, Sequence[Any]] = {}
    for each in running(retrieve(session.machine), session.managed):
        if each.ours:
            # one that is busy has given its numbers: only the current selection stays unknown
            with suppress(Busy):
                found[each.slot] = live.now(session.machine, each)
    return found


def _asked(managed: Managed, service: Mapping[str, Any] | None, *, update: bool) -> Collection[str]:
    """Return the kdamonds whose numbers were requested just now, or by the service."""
    names = {each.kdamond for each in managed.slots.values()}
    if update:
        return names
    if service is None or not service["running"]:
        return ()
    # an older service records only the kdamonds that it did not ask
    return set(service.get("asked", names - set(service.get("unasked", ()))))


def _text(
    data: dict[str, Any],
    seen: _Seen,
    store: Remembered,
    *,
    fresh: bool,
    asleep: Collection[str],
) -> str:
    """Return the status as text; ``fresh``: the numbers were just requested from the kernel.

    ``asleep`` are kdamonds that were not asked.
    """
    managed = seen.managed
    if managed.policies:
        lines = [f"generation {managed.generation}: {', '.join(sorted(managed.policies))}"]
    else:
        lines = ["no policy is applied"]
        if store.unknown:
            lines = ["what is applied is not known"]
        elif store.waiting() and store.confirmed() != managed.generation:
            hint = "`damonpolicy apply --boot` restores it"
            lines.append(f"generation {store.confirmed()} is confirmed from before; {hint}")
    left_out = {each["kdamond"]: each["left_out"] for each in data["lacking"]}
    for each in data["kdamonds"]:
        lines += ["", *kdamond_lines(each, fresh=fresh and each["name"] not in asleep)]
        lines += [
            f"  the filter on the cgroup `{path}` is left out until it is there"
            for path in left_out.get(each["name"], ())
        ]
        lines += [f"  {_ASLEEP}"] if each["name"] in asleep else []
    lines += [
        line
        for each in data["lacking"]
        if each["waits_for"]
        for line in ("", f"kdamond {each['kdamond']}: waits for {each['waits_for']}")
    ]
    if data["settings"]:
        lines += ["", "settings"]
        lines += [_setting(each) for each in seen.settings]
    if data["loops"]:
        lines += ["", "loops", *(f"  {line}" for line in loop_lines(data["loops"]))]
    if data["service"]:
        lines += ["", *_served(data["service"], managed)]
    if data["modules"]:
        lines += ["", "kernel modules that run a kdamond: " + ", ".join(data["modules"])]
        lines += [f"  {each.name}: {line}" for each in seen.modules for line in each.lines]
    return as_text(lines)


def _setting(each: status.SettingStatus) -> str:
    value, original = (setting_text(text, each.path) for text in (each.value, each.original))
    users = f"for {', '.join(each.users)}" if each.users else "put back once no kdamond runs"
    return f"  {each.path}: {value} (was {original}, {users})"


def _served(service: dict[str, Any], managed: Managed) -> list[str]:
    """Describe the service: the last reload, and what it cannot follow or feed."""
    where = ", ".join(service["paths"])
    if not service["running"]:
        return [f"the service of {where} has ended unexpectedly (pid {service['pid']})"]
    last = service["reload"]
    lines = [f"service of {where} (pid {service['pid']})"]
    if last is not None and last["result"] not in ("applied", "unchanged"):
        what = last["message"] or "the files have errors, and the policies before them stay"
        lines.append(f"  last reload: {last['result']}: {what}")
        lines += [f"    {line}".rstrip() for line in last["findings"].splitlines()]
    elif last is not None:
        lines.append(f"  last reload: {last['result']}")
    for name in service.get("held", ()):  # an older service does not report it
        lines.append(f"  waits for {name}: a program has it open for writing")
    for name, job in sorted(service.get("jobs", {}).items()):
        times = f"{job['failures']} failure{'s' if job['failures'] > 1 else ''}"
        if job["trouble"]:
            lines.append(
                f"  the job `{name}` fails, and is tried again ({times}): {job['trouble']}"
            )
    if service["following"]:
        lines.append(f"  cannot follow: {service['following']}")
    for each in service.get("not_followed", ()):
        more = f" and {each['more']} more" if each["more"] else ""
        pids = ", ".join(map(str, each["pids"]))
        lines.append(f"  not yet followed: {each['kdamond']}: pid {pids}{more}: {each['why']}")
    lines += [
        f"  not fed: {goal_name(managed, goal)}: {why}"
        for goal, why in sorted(service["feeds"].items())
    ]
    known = {
        f"{policy.name}/{loop.name}"
        for policy in managed.policies.values()
        for loop in policy.loops
    }
    lines += [
        f"  stands still: {loop}: {why}"
        for loop, why in sorted(service["loops"].items())
        if loop not in known  # otherwise it is reported at its place
    ]
    if service["observing"]:
        lines.append(f"  cannot observe: {service['observing']}")
    return lines + _drifted(service["drift"])


def _drifted(drift: dict[str, Any]) -> list[str]:
    """Describe the drift that the service saw, and what it did."""
    lines = [f"  drift: {each['where']}: {status.Drift(**each).words}" for each in drift["first"]]
    more = drift["files"] - len(drift["first"])
    if more:
        lines.append(f"  drift: {more} more files")
    if drift["repairs"]:
        lines.append(f"  repaired {drift['repairs']} time{'s' if drift['repairs'] > 1 else ''}")
    if drift["cannot_repair"]:
        lines.append(f"  cannot repair: {drift['cannot_repair']}")
    return lines


def _cgroups(drift: Sequence[status.Drift]) -> list[Diagnostic]:
    """List the cgroups that differ from those that the kernel was given, which no file shows."""
    gone = "`damonpolicy apply` commits it once it is back; `when_absent: wait` does without it"
    made = "`damonpolicy apply` commits what is there now; the service does so by itself"
    return [
        warning("DP0650", f"{each.where}: {each.said}", gone if each.gone else made)
        for each in drift
        if each.said
    ]


def _findings(
    data: dict[str, Any], managed: Managed, store: Remembered, now: float
) -> list[Diagnostic]:
    found = []
    drifted = sum(each["drifted_files"] for each in data["kdamonds"])
    drifted += sum(each["drifted"] for each in data["settings"])
    if drifted:
        message = f"{drifted} files are not what was committed last"
        found.append(warning("DP0614", message, "`damonpolicy diff` shows them"))
    found += unsettled(store, managed, now)
    now_in_force = store.generation(managed.generation)
    if now_in_force is not None and now_in_force.instead_of:
        message = f"generation {now_in_force.instead_of} was not confirmed in time, and is undone"
        found.append(warning("DP0613", message, "apply it again, and confirm in time"))
    return [*store.found, *found]
