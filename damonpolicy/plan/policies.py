"""Policy files into compiled policies: reading, rules, compiling, all diagnostics at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from damonpolicy.diagnostics import Diagnostic, Span, did_you_mean
from damonpolicy.errors import DamonPolicyError
from damonpolicy.kernel import nodes as machine_nodes
from damonpolicy.kernel.capabilities import Capabilities
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.model.expand import expand
from damonpolicy.model.expand import variables as read_variables
from damonpolicy.model.monitor import monitored
from damonpolicy.model.policy import Policy
from damonpolicy.model.read import Cursor, Read, read_policy
from damonpolicy.model.rules import machine as machine_rules
from damonpolicy.model.rules import modules as module_rules
from damonpolicy.model.rules import policy as policy_rules
from damonpolicy.model.rules import settings as settings_rules
from damonpolicy.plan.compile import Compiler, chosen
from damonpolicy.plan.compiled import CompiledKdamond, CompiledPolicy, Loop
from damonpolicy.plan.parameters import compile_modules
from damonpolicy.plan.sample import NUMA_BALANCING
from damonpolicy.plan.tuning import compile_loops, uncounted
from damonpolicy.source.files import SourceFile
from damonpolicy.source.nodes import Mapping as MappingNode
from damonpolicy.source.nodes import Scalar, plain
from damonpolicy.source.yaml import parse

__all__ = ("Loaded", "Overrides", "Spans", "compile_policies", "load", "place")

Spans: TypeAlias = dict[tuple[str, str], Span]
"""Places in policies, by what errors are about.

A kdamond's full name and ``targets/N`` or a directory of filters; a policy's name and the path
of a setting, ``modules`` or ``kdamonds``.
"""


def place(error: DamonPolicyError, spans: Spans) -> Span | None:
    """Return where what an error is about stands."""
    return next((spans[each] for each in error.about if each in spans), None)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Variables from files, in order, and from options, which win."""

    values: Mapping[str, str] = field(default_factory=dict)
    demanded: frozenset[str] = frozenset()
    """Names given on the command line: one that no policy declares is a mistake."""
    monitor: bool = False
    """Whether each kdamond gets a scheme that only looks, where it has none."""

    @classmethod
    def read(
        cls, files: Sequence[SourceFile], options: Sequence[str]
    ) -> tuple[Overrides, list[Diagnostic]]:
        """Read files of ``name: value`` lines, and options of the form ``name=value``."""
        values: dict[str, str] = {}
        found: list[Diagnostic] = []
        for file in files:
            top, problems = parse(file.name, file.text)
            found += problems
            for key, node in top.items if top else ():
                if isinstance(node, Scalar):
                    values[key.text] = node.text
                else:
                    message = f"the variable `{key.text}` is not a single value"
                    hint = "lists and mappings cannot come from variables"
                    found.append(Diagnostic.error("DP0025", node.span, message, hint=hint))
        names = []
        for option in options:
            name, equals, value = option.partition("=")
            if not equals or not name:
                message = f"`--set {option}` is not of the form `name=value`"
                hint = f"write `--set {name or 'name'}=VALUE`"
                found.append(Diagnostic.error("DP0025", None, message, hint=hint))
            names.append(name)
            values[name] = value
        return cls(values, frozenset(names)), found


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies that were read and checked, their texts, and everything found on the way."""

    reads: tuple[tuple[Read, str], ...]
    texts: Mapping[str, str]
    found: tuple[Diagnostic, ...]
    overrides: Overrides


def load(
    files: Sequence[SourceFile],
    overrides: Overrides,
    *,
    machine: Machine | None,
    found: Sequence[Diagnostic] = (),
) -> Loaded:
    """Read policies and check them by every rule that does not need the machine.

    ``machine`` tells which nodes `for_each: {node: all}` means; without one there is node 0.
    """
    problems = list(found)
    online = machine_nodes.nodes(machine) if machine else (0,)
    reads: list[tuple[Read, str]] = []
    declared: set[str] = set()
    for file in files:
        top, syntax = parse(file.name, file.text)
        problems += syntax
        if top is None:
            continue
        declared |= _declared(top)
        values, wrong = read_variables(top, overrides.values)
        expanded = expand(top, values, online)
        data, places = plain(expanded.top)
        read, errors = read_policy(data, places)
        problems += [*wrong, *expanded.found, *errors]
        if read is None:
            continue
        if overrides.monitor:
            read = replace(read, policy=monitored(read.policy))
        reads.append((read, file.text))
        if not expanded.lost and not syntax:
            problems += policy_rules.check(read.policy, read.cursor, anywhere=machine is None)
    for name in sorted(overrides.demanded - declared):
        hint = did_you_mean(name, declared) or "policies declare variables under `vars:`"
        message = f"no policy has a variable `{name}`"
        problems.append(Diagnostic.error("DP0025", None, message, hint=hint))
    problems += policy_rules.check_together([read for read, _ in reads])
    texts = {file.name: file.text for file in files}
    return Loaded(tuple(reads), texts, tuple(problems), overrides)


def _declared(top: MappingNode) -> set[str]:
    node = top.get("vars")
    return {key.text for key, _ in node.items} if isinstance(node, MappingNode) else set()


def compile_policies(
    loaded: Loaded,
    capabilities: Capabilities,
    machine: Machine | None,
    *,
    owner: str = "hand",
    unfed: bool = False,
    served: bool = False,
    spans: Spans | None = None,
) -> tuple[dict[str, CompiledPolicy], list[Diagnostic]]:
    """Compile for one kernel, and check by the rules that look at the machine.

    Without ``machine`` (a kernel one is not on) nothing is looked up on it. ``unfed`` lets
    goals stand that nobody feeds; ``served``: a service feeds those that say where from.
    ``spans`` takes the places of what is looked up later.
    """
    found: list[Diagnostic] = []
    policies: dict[str, CompiledPolicy] = {}
    for read, text in loaded.reads:
        policy, at = read.policy, read.cursor
        if machine is not None:
            found += settings_rules.check_machine(policy, at, machine)
            found += module_rules.check_machine(policy, at, machine)
        kdamonds: list[CompiledKdamond] = []
        loops: list[Loop] = []
        settings = {
            path: value
            for path, value in policy.settings.items()
            if machine is None or machine.exists(path) or not settings_rules.already_so(path, value)
        }
        parameters, lacking = compile_modules(policy, at, capabilities, machine)
        settings = {**parameters, **settings}
        if spans is not None:
            named = [(path, at("settings", path)) for path in policy.settings]
            named += [(part, at(part)) for part in ("modules", "kdamonds")]
            spans |= {(policy.name, part): each.key for part, each in named}
        found += lacking
        for index, kdamond in enumerate(policy.kdamonds):
            here = at("kdamonds", index)
            if not chosen(kdamond, capabilities):
                message = f"the alternative `{kdamond.name}` is not for this kernel"
                found.append(Diagnostic.note("DP0602", here("when").key, message))
                continue
            if machine is not None:
                found += machine_rules.check_kdamond(kdamond, here, machine, served=served)
            compiler = Compiler(policy.name, capabilities, machine, served=served)
            kdamonds.append(compiler.kdamond(kdamond, here))
            if spans is not None:
                spans |= _spans(kdamonds[-1], compiler, here)
            found += compiler.found
            loops += compiler.loops
            if compiler.uses_faults:
                found += _without_balancing(policy, here("accesses"), at)
                settings.setdefault(NUMA_BALANCING, "0")
        found += uncounted(policy, at, capabilities)
        found += _service_needed(policy, at, unfed=unfed, served=served)
        policies[policy.name] = CompiledPolicy(
            name=policy.name,
            owner=owner,
            kdamonds=tuple(kdamonds),
            settings=settings,
            source=text,
            variables=dict(loaded.overrides.values),
            loops=(*loops, *(compile_loops(policy, kdamonds) if served else ())),
            repairs=policy.on_drift == "repair",
            monitored=loaded.overrides.monitor,
        )
    return policies, found


def _spans(kdamond: CompiledKdamond, compiler: Compiler, at: Cursor) -> Spans:
    """Return where a kdamond names what binding looks up: its targets, and its filters' cgroups."""
    name = kdamond.full_name
    result = {(name, directory): compiler.origins[directory].key for directory in kdamond.filters}
    for index, target in enumerate(kdamond.targets):
        each = at("targets", index)
        span = each("process").key if target.selector else each.value
        result[name, f"targets/{index}"] = span
    return result


def _without_balancing(policy: Policy, accesses: Cursor, at: Cursor) -> list[Diagnostic]:
    """NUMA balancing takes the faults that tell DAMON about accesses: both cannot be."""
    value = policy.settings.get(NUMA_BALANCING, "0").strip()
    if value == "0":
        return []
    return [
        Diagnostic.error(
            "DP0229",
            at("settings", NUMA_BALANCING).value,
            "with NUMA balancing on, counting only some accesses sees nothing",
            hint="write 0, or leave the setting out: it is then set and put back",
            related=[(accesses.key, "this needs it off")],
        )
    ]


def _service_needed(policy: Policy, at: Cursor, *, unfed: bool, served: bool) -> list[Diagnostic]:
    """What only a running service could keep up is refused, not silently left to rot."""
    found = [] if unfed else list(module_rules.service_needed(policy, at))
    if policy.tuning and not (served or unfed):
        message = "`tuning` needs the service: nobody else moves anything"
        hint = (
            "`damonpolicy run` does it; `--unfed` applies the rest, and leaves it where it starts"
        )
        found.append(Diagnostic.error("DP0239", at("tuning").key, message, hint=hint))
    if policy.on_drift == "repair" and not served:
        message = (
            "drift is repaired only where `damonpolicy run` applies the policy; else it is reported"
        )
        found.append(Diagnostic.note("DP0606", at("on_drift").value, message))
    for index, kdamond in enumerate(policy.kdamonds):
        for number, scheme in enumerate(kdamond.schemes):
            here = at("kdamonds", index, "schemes", number)
            if scheme.retune_age and not served:
                message = "`retune_age` needs the service: nobody else rewrites ages"
                hint = "`damonpolicy run` does it; else write the age as `20 aggregations`"
                found.append(Diagnostic.error("DP0252", here("retune_age").key, message, hint=hint))
            for order, goal in enumerate(scheme.limits.goals):
                fed = unfed or (served and goal.from_ is not None)
                if goal.metric == "user_input" and not fed:
                    message = "nobody feeds this goal: the quota would stay where it starts"
                    hint = "`--unfed` applies it all the same, for you to write current_value"
                    if goal.from_ is not None:
                        hint = f"`damonpolicy run` feeds it; {hint}"
                    elif served:
                        hint = "say where it comes `from`"
                    span = here("quota", "goals", order, "metric").value
                    found.append(Diagnostic.error("DP0230", span, message, hint=hint))
    return found
