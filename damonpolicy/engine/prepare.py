"""Planning: from the wanted managed set and the current machine to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from damonpolicy.base.errors import DamonPolicyError, KernelLacks, PolicyInvalid
from damonpolicy.kernel.damon.modules import watched
from damonpolicy.kernel.settings import ADVISOR, EXTENSION, PAGES, refusal
from damonpolicy.kernel.system import processes
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.bind import Absent, Bound, Finder, Waits, bind
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.loops import from_start
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.planner import Wanted, make_plan
from damonpolicy.plan.state import Managed

__all__ = ("prepare",)


def prepare(
    machine: Machine,
    managed: Managed,
    policies: Mapping[str, CompiledPolicy],
    affected: Iterable[str],
    *,
    takeover: bool = False,
    find: Finder = processes.find,
    waits: bool = False,
) -> tuple[Current, Plan]:
    """Plan to manage exactly ``policies``, of which the ``affected`` ones are applied now.

    Kdamonds of the others stay as they are; managed ones that are not wanted end. ``find`` and
    ``waits`` are those of `bind`; a service's kdamonds always wait, as it looks again.

    Raises PolicyInvalid for a setting that is not on the list.
    """
    applied = tuple(affected)
    for name in applied:  # plans and generations are files, so the rules' checks are repeated
        for path in policies[name].settings:
            if reason := refusal(machine, path):
                message = f"the policy `{name}` may not set `{path[:80]}`: {reason}"
                raise PolicyInvalid(message, hint=f"root may add it to {EXTENSION}", code="DP0242")
    paths = {path for policy in policies.values() for path in policy.settings}
    paths |= set(managed.settings)
    advisor = {ADVISOR} if PAGES in paths else set()
    current = retrieve(machine, paths | advisor | watched(paths))
    bound: dict[str, Bound | Waits] = {}

    def plan() -> Plan:
        wrong: list[DamonPolicyError] = []
        for kdamond in (each for name in applied for each in policies[name].kdamonds):
            slot = managed.slot_of(kdamond.full_name)
            members = managed.slots[slot].members if slot is not None else ()
            served = waits or policies[kdamond.policy].owner != "hand"
            try:
                bound[kdamond.full_name] = bind(kdamond, machine, members, find=find, waits=served)
            except (Absent, KernelLacks) as error:
                wrong.append(error)
        if wrong:
            wrong[0].also = tuple(wrong[1:])
            raise wrong[0]
        return make_plan(current, managed, Wanted(policies, bound, applied, takeover))

    made = plan()
    begin = {each.name for each in made.kdamonds if each.action in ("start", "restart", "wait")}
    anew = {name: from_start(each, begin) for name, each in policies.items() if name in applied}
    if any(each is not policies[name] for name, each in anew.items()):
        policies = {**policies, **anew}
        made = plan()
    return current, made
