"""``damonpolicy status``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from damonpolicy.cli.goals import goal_lines, known, measure
from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.cli.service import served
from damonpolicy.diagnostics import Diagnostic, as_text
from damonpolicy.engine.session import looking, refresh
from damonpolicy.engine.store import Store
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import read_or
from damonpolicy.observe import status
from damonpolicy.observe.remembered import Remembered, unsettled
from damonpolicy.plan.current import retrieve
from damonpolicy.plan.managed import Managed
from damonpolicy.plan.texts import setting_text
from damonpolicy.units import approximate_bytes

_ASLEEP = "the numbers are old: it may sleep long by its watermarks, and the service lets it"


@click.command("status")
@click.option("--update", is_flag=True, help="ask our kdamonds for fresh numbers first")
@common
@pass_invocation
def command(invocation: Invocation, *, update: bool) -> Result:
    """Show what runs, whose it is, and what it did so far.

    Numbers are those that the kernel last gave to anyone. `--update` asks our own kdamonds anew,
    which is a command to each, and changes nothing that they do.
    """
    machine = invocation.machine()
    store = Remembered(Store(invocation.places()))
    boot_id = look(machine).boot_id
    managed = store.managed(boot_id)
    if update and not store.unknown:
        with looking(machine, invocation.places(), wait=True) as session:
            refresh(session)
        managed = store.managed(boot_id)
    current = retrieve(machine, managed.settings)
    slots = status.kdamonds(current, managed)
    settings = status.settings(current, managed)
    running = {each.name for each in slots}
    lacking = status.lacking(machine, managed, running)
    service = store.service(lambda: served(machine, store.places))
    data: dict[str, Any] = {
        "generation": managed.generation or None,
        "confirmed": store.confirmed() or None,
        "policies": {name: policy.owner for name, policy in managed.policies.items()},
        "kdamonds": [known(each.to_json(), service) for each in slots],
        "waiting": [each.kdamond for each in lacking if each.waits_for],
        "lacking": [each.to_json() for each in lacking],
        "settings": [
            {
                "path": each.path,
                "value": setting_text(each.value),
                "original": setting_text(each.original),
                "users": list(each.users),
                "drifted": each.drifted,
            }
            for each in settings
        ],
        "modules": list(current.modules),
        "free_slots": sum(current.owner(slot, managed) == "free" for slot in current.slots),
        "service": service,
    }
    if update:
        measure(machine, data["kdamonds"])
    served_now = service is not None and service["running"]
    asleep = service.get("unasked", ()) if service and served_now and not update else ()
    names = {
        target: read_or(machine, f"/proc/{target.removeprefix('pid ')}/comm")
        for slot in slots
        for target in slot.targets
        if target.startswith("pid ")
    }
    return Result(
        _text(data, managed, store, names, settings, fresh=update or served_now, asleep=asleep),
        data,
        diagnostics=[
            *_findings(data, managed, store, machine.monotonic()),
            *_cgroups(status.drift(current, managed)),
        ],
    )


def _text(
    data: dict[str, Any],
    managed: Managed,
    store: Remembered,
    names: Mapping[str, str],
    settings: Sequence[status.SettingStatus],
    *,
    fresh: bool,
    asleep: Collection[str],
) -> str:
    """Write it; ``fresh``: somebody has just asked the kernel for its numbers.

    ``asleep`` are kdamonds that were not asked.
    """
    if managed.policies:
        lines = [f"generation {managed.generation}: {', '.join(sorted(managed.policies))}"]
    else:
        lines = ["no policy is applied"]
        if store.unknown:
            lines = ["what is applied is not known"]
        elif store.waiting() and store.confirmed() != managed.generation:
            hint = "`damonpolicy apply --boot` brings it back"
            lines.append(f"generation {store.confirmed()} is confirmed from before; {hint}")
    left_out = {each["kdamond"]: each["left_out"] for each in data["lacking"]}
    for each in data["kdamonds"]:
        lines += ["", *_kdamond(each, names, fresh=fresh and each["name"] not in asleep)]
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
        lines += [_setting(each) for each in settings]
    if data["service"]:
        lines += ["", *_served(data["service"])]
    if data["modules"]:
        lines += ["", "kernel modules that run a kdamond: " + ", ".join(data["modules"])]
    return as_text(lines)


def _setting(each: status.SettingStatus) -> str:
    value, original = (setting_text(text, each.path) for text in (each.value, each.original))
    users = f"for {', '.join(each.users)}" if each.users else "put back once no kdamond runs"
    return f"  {each.path}: {value} (was {original}, {users})"


def _served(service: dict[str, Any]) -> list[str]:
    """Say how the service is: the last reload, and what it cannot follow or feed."""
    where = ", ".join(service["paths"])
    if not service["running"]:
        return [f"the service of {where} has ended without a word (pid {service['pid']})"]
    last = service["reload"]
    lines = [f"service of {where} (pid {service['pid']})"]
    if last is not None and last["result"] not in ("applied", "unchanged"):
        what = last["message"] or "the files have errors, and the policies before them stay"
        lines.append(f"  last reload: {last['result']}: {what}")
        lines += [f"    {line}".rstrip() for line in last["findings"].splitlines()]
    elif last is not None:
        lines.append(f"  last reload: {last['result']}")
    for name in service.get("held", ()):  # an older service says nothing of it
        lines.append(f"  waits for {name}: somebody has it open for writing")
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
    lines += [f"  not fed: {goal}: {why}" for goal, why in sorted(service["feeds"].items())]
    lines += [f"  stands still: {loop}: {why}" for loop, why in sorted(service["loops"].items())]
    if service["observing"]:
        lines.append(f"  cannot observe: {service['observing']}")
    return lines + _drifted(service["drift"])


def _drifted(drift: dict[str, Any]) -> list[str]:
    """Say what the service saw drift, and what it did."""
    lines = [f"  drift: {each['where']}: {status.Drift(**each).words}" for each in drift["first"]]
    more = drift["files"] - len(drift["first"])
    if more:
        lines.append(f"  drift: {more} more files")
    if drift["repairs"]:
        lines.append(f"  repaired {drift['repairs']} time{'s' if drift['repairs'] > 1 else ''}")
    if drift["cannot_repair"]:
        lines.append(f"  cannot repair: {drift['cannot_repair']}")
    return lines


def _kdamond(each: dict[str, Any], names: Mapping[str, str], *, fresh: bool) -> list[str]:
    whose = each["name"] or "someone else's"
    pid = f", pid {each['pid']}" if each["pid"] else ""
    state = f"{each['state']}, paused" if each["paused"] else each["state"]
    lines = [f"kdamond {whose}: {state} (slot {each['slot']}{pid})"]
    targets = [
        f"{target} ({names[target]})" if names.get(target) else target for target in each["targets"]
    ]
    if targets:
        shown = ", ".join(targets[:4]) + (f" and {len(targets) - 4} more" if targets[4:] else "")
        lines.append(f"  {each['ops']}: {shown}")
    if each["accesses"] != "all":
        lines.append(f"  accesses: {each['accesses']}")
    if not each["schemes"]:
        lines.append("  no scheme: one with `action: stat` would count what it selects")
    for scheme in each["schemes"]:
        quota = f", {scheme['quota']}" if scheme["quota"] else ""
        lines.append(f"  scheme {scheme['name']}: {scheme['action']}{quota}")
        if scheme["filters"]:
            lines.append(f"    {scheme['filters']}")
        numbers = scheme["statistics"]
        passed = numbers.get("sz_ops_filter_passed") if scheme["filters"] else None
        lines.append(
            f"    tried {approximate_bytes(numbers.get('sz_tried', 0))}"
            f" in {numbers.get('nr_tried', 0)} regions,"
            + (f" {approximate_bytes(passed)} passed the filters," if passed is not None else "")
            + f" applied to {approximate_bytes(numbers.get('sz_applied', 0))}"
        )
        lines += [f"    {line}" for line in goal_lines(scheme, fresh=fresh)]
    return lines


def _cgroups(drift: Sequence[status.Drift]) -> list[Diagnostic]:
    """Say which cgroups differ from those that the kernel was given, which no file shows."""
    gone = "`damonpolicy apply` commits it once it is back; `when_absent: wait` does without it"
    made = "`damonpolicy apply` commits what is there now; the service does so by itself"
    return [
        Diagnostic.warning(
            "DP0650", None, f"{each.where}: {each.said}", hint=gone if each.gone else made
        )
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
        hint = "`damonpolicy diff` shows them"
        found.append(Diagnostic.warning("DP0614", None, message, hint=hint))
    found += unsettled(store, managed, now)
    now_in_force = store.generation(managed.generation)
    if now_in_force is not None and now_in_force.instead_of:
        message = f"generation {now_in_force.instead_of} was not confirmed in time, and is undone"
        hint = "apply it again, and confirm in time"
        found.append(Diagnostic.warning("DP0613", None, message, hint=hint))
    return [*store.found, *found]
