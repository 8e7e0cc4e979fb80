"""Loading and compiling of policy files: reading, rules, and all diagnostics at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import TypeAlias

from damonpolicy.base.diagnostics import Diagnostic, Span, did_you_mean, is_whole
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.settings import missing, written
from damonpolicy.kernel.system import cgroups, memory, numa
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.plan.ir import CompiledKdamond, CompiledPolicy, Loop
from damonpolicy.policy.compile.files import Files
from damonpolicy.policy.compile.kdamond import compile_kdamond, may_be_chosen
from damonpolicy.policy.compile.modules import compile_modules
from damonpolicy.policy.compile.sample import NUMA_BALANCING
from damonpolicy.policy.compile.tuning import compile_loops, uncounted
from damonpolicy.policy.model.monitor import monitored
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor, Read, read_policy
from damonpolicy.policy.rules import idle as idle_rules
from damonpolicy.policy.rules import machine as machine_rules
from damonpolicy.policy.rules import modules as module_rules
from damonpolicy.policy.rules import policy as policy_rules
from damonpolicy.policy.rules import settings as settings_rules
from damonpolicy.policy.rules.rule import readable, rule
from damonpolicy.policy.source.expand import Given, expand, unused
from damonpolicy.policy.source.expand import variables as read_variables
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.nodes import Lost, Scalar, plain
from damonpolicy.policy.source.nodes import Mapping as MappingNode
from damonpolicy.policy.source.template import Templates
from damonpolicy.policy.source.yaml import parse

__all__ = (
    "Loaded",
    "Overrides",
    "Spans",
    "Upkeep",
    "compile_policies",
    "load",
    "wrong_files",
)

Spans: TypeAlias = dict[tuple[str, str], Span | Cursor]
"""Places in policies, by the subject of errors.

A kdamond's full name and ``targets/N``, one of its files, a directory of filters or nothing; a
policy's name and the path of a setting, ``modules`` or ``kdamonds``.
"""
_SERVICE = "`damonpolicy run` does it, `damonpolicy plan --served` shows its plan"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Variables from files, in order, and from options, which win."""

    values: Mapping[str, str] = field(default_factory=dict)
    demanded: frozenset[str] = frozenset()
    """Names from the command line, each of which some policy has to declare."""
    monitor: bool = False
    """Whether each kdamond without a scheme that only counts gets one."""

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
                elif not isinstance(node, Lost):
                    message = f"the variable `{key.text}` is not a single value"
                    hint = "lists and mappings cannot come from variables"
                    found.append(Diagnostic.error("DP0025", node.span, message, hint=hint))
        for option in options:
            name, equals, value = option.partition("=")
            if not equals or not name:
                message = f"`--set {option}` is not of the form `name=value`"
                hint = f"write `--set {name or 'name'}=VALUE`"
                found.append(Diagnostic.error("DP0025", None, message, hint=hint))
            if not is_whole(option):
                message = f"`--set {option}` is not UTF-8"
                hint = "set your terminal's locale to one with UTF-8"
                found.append(Diagnostic.error("DP0038", None, message, hint=hint))
                value = ""
            values[name] = value
        return cls(values, frozenset(each.partition("=")[0] for each in options)), found


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Whose policies are, and who keeps up what needs somebody."""

    owner: str = "hand"
    unfed: bool = False
    """Whether goals may stand that nothing feeds."""
    served: bool = False
    """Whether a service feeds those that say where from."""


_BY_HAND = Upkeep()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies that were read and checked, their texts, and all findings."""

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
    """Read policies, and check them by every rule that does not need the machine.

    ``machine`` provides the nodes of `for_each: {node: all}`; without one there is node 0.
    """
    problems = list(found)
    online = numa.nodes(machine) if machine else (0,)
    given = _given(machine)
    reads: list[tuple[Read, str]] = []
    declared: set[str] = set()
    for file in files:
        top, syntax = parse(file.name, file.text)
        problems += syntax
        if top is None:
            continue
        own = top.get("vars")
        declared |= {key.text for key, _ in own.items} if isinstance(own, MappingNode) else set()
        templates = Templates()
        values, wrong = read_variables(top, overrides.values, templates, given)
        expanded = expand(top, values, online, templates)
        if expanded.given_up:
            problems += [*wrong, *expanded.found]
            continue
        data, places = plain(expanded.top)
        read, errors = read_policy(data, places)
        problems += [*wrong, *expanded.found, *errors]
        if not (syntax or wrong or expanded.found):
            problems += unused(top, errors)
        if read is None:
            continue
        if overrides.monitor and not (syntax or wrong or expanded.found or errors):
            read = replace(read, policy=monitored(read.policy))
        reads.append((read, file.text))
        problems += policy_rules.check(read.policy, read.cursor, anywhere=machine is None)
    for name in sorted(overrides.demanded - declared):
        hint = did_you_mean(name, declared) or "policies declare variables under `vars:`"
        message = f"no policy has a variable `{name}`"
        problems.append(Diagnostic.error("DP0025", None, message, hint=hint))
    problems += policy_rules.check_together([read for read, _ in reads])
    texts = {file.name: file.text for file in files}
    if machine is not None:
        problems = [with_cgroup(each, machine, texts) for each in problems]
    return Loaded(tuple(reads), texts, tuple(problems), overrides)


def _given(machine: Machine | None) -> dict[str, Given]:
    """Return the variables of a machine for templates; without one, of a small machine."""
    if machine is None:
        return {"memory": Given(8 << 30), "nodes": Given(1), "cpus": Given(4)}
    return {
        "memory": Given(memory.total(machine)),
        "nodes": Given(len(numa.nodes(machine))),
        "cpus": Given(len(numa.online_cpus(machine))),
    }


def with_cgroup(found: Diagnostic, machine: Machine, texts: Mapping[str, str]) -> Diagnostic:
    """Add the cgroup of this machine that is probably meant by something other than its path."""
    if found.code != "DP0123" or found.span is None:
        return found
    span, lines = found.span, texts.get(found.span.file, "").splitlines()
    if span.line != span.end_line or span.line > len(lines):
        return found
    text = lines[span.line - 1][span.column - 1 : span.end_column - 1].strip("\"'")
    paths = cgroups.named_like(machine, text)
    return replace(found, hint=f"write `{paths[0]}`") if paths else found


def wrong_files(found: Sequence[Diagnostic]) -> set[str]:
    """Return the files that errors are about; an empty name stands for errors without a file."""
    errors = [each for each in found if each.severity == "error"]
    places = {span.file for each in errors for span, _ in each.related}
    return places | {each.span.file if each.span else "" for each in errors}


def compile_policies(
    loaded: Loaded,
    capabilities: Capabilities,
    machine: Machine | None,
    upkeep: Upkeep = _BY_HAND,
    spans: Spans | None = None,
) -> tuple[dict[str, CompiledPolicy], list[Diagnostic]]:
    """Compile for one kernel, and check by the rules that look at the machine.

    Policies with errors are checked too, as far as they could be read, so that all errors are
    reported at once; they are not compiled then.

    Without ``machine`` (a kernel that we are not on) nothing is looked up on it.
    ``spans`` takes the places of what is looked up later.
    """
    making = _Making(capabilities, machine, upkeep, {} if spans is None else spans)
    wrong = wrong_files(loaded.found)
    policies: dict[str, CompiledPolicy] = {}
    for read, text in loaded.reads:
        policy, at = read.policy, read.cursor
        settings = making.settings(policy, at)
        kdamonds, loops = making.kdamonds(policy, at, settings)
        making.found += uncounted(policy, at, capabilities)
        making.found += _service_needed(policy, at, upkeep)
        if wrong.isdisjoint(("", at("name").value.file)):
            name = policy.known("name", "")
            tuned = compile_loops(policy, kdamonds) if upkeep.served else ()
            policies[name] = CompiledPolicy(
                name=name,
                owner=upkeep.owner,
                kdamonds=tuple(kdamonds),
                settings=settings,
                source=text,
                variables=dict(loaded.overrides.values),
                loops=(*loops, *tuned),
                repairs=policy.on_drift == "repair",
                monitored=loaded.overrides.monitor,
            )
    return policies, making.found


@dataclass(slots=True)
class _Making:
    """The parts of policies for one kernel; ``found`` and ``spans`` collect on the way."""

    capabilities: Capabilities
    machine: Machine | None
    upkeep: Upkeep
    spans: Spans
    found: list[Diagnostic] = field(default_factory=list)

    def settings(self, policy: Policy, at: Cursor) -> dict[str, str]:
        """Return the settings, those of modules among them."""
        machine = self.machine
        if machine is not None:
            self.found += settings_rules.check_machine(policy, at, machine)
            self.found += module_rules.check_machine(policy, at, machine)
            self.found += idle_rules.check_machine(policy, at, machine)
        settings = {
            path: written(path, value, read_or(machine, path) if machine else "")
            for path, value in policy.known("settings", {}).items()
            if machine is None or machine.exists(path) or not missing(path, value)
        }
        parameters, lacking = compile_modules(policy, at, self.capabilities, machine)
        self.found += lacking
        name = policy.known("name", "")
        self.spans |= {(name, path): each for path, _, each in module_rules.contents(policy, at)}
        named = [(path, at("settings", path)) for path in policy.known("settings", ())]
        named += [(part, at(part)) for part in ("modules", "kdamonds")]
        self.spans |= {(name, part): each.key for part, each in named}
        return {**parameters, **settings}

    def kdamonds(
        self, policy: Policy, at: Cursor, settings: dict[str, str]
    ) -> tuple[list[CompiledKdamond], list[Loop]]:
        """Return the kdamonds and their loops; ``settings`` gets those that they need."""
        name, machine, served = policy.known("name", ""), self.machine, self.upkeep.served
        kdamonds: list[CompiledKdamond] = []
        loops: list[Loop] = []
        for index, kdamond in enumerate(policy.known("kdamonds", ())):
            here = at("kdamonds", index)
            if not may_be_chosen(kdamond, self.capabilities):
                message = f"the alternative `{kdamond.known('name')}` is not for this kernel"
                self.found.append(Diagnostic.note("DP0602", here("when").key, message))
                continue
            if machine is not None:
                self.found += machine_rules.check_kdamond(kdamond, here, machine, served=served)
            out = Files(name, self.capabilities, machine, served)
            with suppress(Unread):
                kdamonds.append(compile_kdamond(out, kdamond, here))
                self.spans |= _spans(kdamonds[-1], out.origins, here)
            self.found += out.found
            loops += out.loops
            if out.uses_faults:
                self.found += _without_balancing(policy, here("accesses"), at)
                settings.setdefault(NUMA_BALANCING, "0")
                self.spans.setdefault((name, NUMA_BALANCING), here("accesses"))
        return kdamonds, loops


def _spans(kdamond: CompiledKdamond, origins: Mapping[str, Cursor], at: Cursor) -> Spans:
    """Return the places in a kdamond of its files' values, and of the names for binding."""
    name = kdamond.full_name
    result: Spans = {(name, path): each for path, each in origins.items()}
    result |= {(name, ""): at("name"), (name, view.Kdamond().targets.path): at("targets")}
    result |= {(name, directory): origins[directory].key for directory in kdamond.filters}
    for index, target in enumerate(kdamond.targets):
        each = at("targets", index)
        span = each("process").key if target.selector else each.value
        result[name, f"targets/{index}"] = span
    return result


def _without_balancing(policy: Policy, accesses: Cursor, at: Cursor) -> Iterator[Diagnostic]:
    """Refuse NUMA balancing beside accesses by page faults, as it takes these faults."""
    if policy.known("settings", {}).get(NUMA_BALANCING, "0").strip() != "0":
        message = "with NUMA balancing on, counting only some accesses sees nothing"
        hint = "write 0, or leave the setting out: it is then set and put back"
        related = [(accesses.key, "this needs it off")]
        span = at("settings", NUMA_BALANCING).value
        yield Diagnostic.error("DP0229", span, message, hint=hint, related=related)


def _service_needed(policy: Policy, at: Cursor, upkeep: Upkeep) -> Iterator[Diagnostic]:
    """Refuse parts that only a running service could keep up."""
    unfed, served = upkeep.unfed, upkeep.served
    if not unfed:
        yield from module_rules.service_needed(policy, at)
    if policy.known("tuning") and not (served or unfed):
        message = "`tuning` needs the service: nothing else moves values"
        hint = f"{_SERVICE}; `--unfed` applies the rest, and leaves it where it starts"
        yield Diagnostic.error("DP0239", at("tuning").key, message, hint=hint)
    if policy.known("on_drift") == "repair" and not served:
        message = (
            "drift is repaired only where `damonpolicy run` applies the policy; else it is reported"
        )
        yield Diagnostic.note("DP0606", at("on_drift").value, message)
    for index, kdamond in enumerate(policy.known("kdamonds", ())):
        for number, scheme in enumerate(kdamond.known("schemes", ())):
            here = at("kdamonds", index, "schemes", number)
            if scheme.known("retune_age") and not served:
                message = "`retune_age` needs the service: nothing else rewrites ages"
                hint = f"{_SERVICE}; else write the age as `20 aggregations`"
                yield Diagnostic.error("DP0252", here("retune_age").key, message, hint=hint)
            if not unfed:
                yield from _unfed(scheme, here("quota", "goals"), served=served)


@rule
def _unfed(scheme: Scheme, at: Cursor, *, served: bool) -> Iterator[Diagnostic]:
    for index, goal in readable(scheme.limits.goals, "metric", "from_"):
        if goal.metric == "user_input" and not (served and goal.from_ is not None):
            message = "nothing feeds this goal: the quota would stay where it starts"
            hint = "`--unfed` applies it all the same, for you to write current_value"
            if goal.from_ is not None:
                hint = f"{_SERVICE}; {hint}"
            elif served:
                hint = "say where it comes `from`"
            yield Diagnostic.error("DP0230", at(index, "metric").value, message, hint=hint)
