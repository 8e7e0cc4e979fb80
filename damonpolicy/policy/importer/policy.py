"""Import of kdamonds, live or from files, as one policy, with a check that it means the same.

The policy is compiled again, for the same kernel, and compared file by file; each difference is
reported, with its reason if known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic, Span, is_whole
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.modules import parameter_path
from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.damon.tree import Tree, configuration, startable
from damonpolicy.kernel.damon.view import Filter, Kdamond
from damonpolicy.kernel.system.cgroups import its_name
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.plan.bind import Bound, bind, stated
from damonpolicy.plan.normal import in_effect
from damonpolicy.policy.compile.loading import place
from damonpolicy.policy.compile.policies import (
    Loaded,
    Overrides,
    Spans,
    Upkeep,
    compile_policies,
    load,
)
from damonpolicy.policy.importer.kdamond import kdamond
from damonpolicy.policy.importer.locations import Source, relocated
from damonpolicy.policy.importer.result import Decompiled
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.nodes import Path
from damonpolicy.policy.source.write import to_yaml

__all__ = ("Imported", "Source", "policy", "written")


@dataclass(frozen=True, slots=True)
class Imported:
    """The policy's text, its differences from the origin, and its errors."""

    text: str
    found: tuple[Diagnostic, ...]
    differences: tuple[dict[str, str], ...]


def policy(
    sources: Sequence[Source],
    name: str,
    capabilities: Capabilities,
    machine: Machine | None,
    comments: Sequence[str] = (),
    *,
    modules: Mapping[str, Any] | None = None,
    spans: Mapping[Path, Span] | None = None,
) -> Imported:
    """Return one policy for all sources; ``machine`` is None if they are not of this machine.

    ``modules`` are those of the policy, ``spans`` their places in the user's file.
    """
    made = [kdamond(each.tree, each.name, each.names, machine) for each in sources]
    for source, decompiled in zip(sources, made, strict=True):
        if source.system_ram:
            decompiled.data["targets"] = [{"system_ram": True}]
    data: dict[str, Any] = {"version": 1, "name": name}
    if made:
        data["kdamonds"] = [each.data for each in made]
    own = dict(modules or {})
    running = bool(own) or any(Kdamond(each.tree).state.text == "on" for each in sources)
    if machine is not None and running and machine.exists(parameter_path("damon_stat", "enabled")):
        # otherwise it runs after the next boot, and none of these could start beside it
        own.setdefault("damon_stat", {"enabled": False})
    if own:
        data["modules"] = own
    unsayable = next((each for each in _words(data) if "{{" in each or not is_whole(each)), None)
    if unsayable is not None:
        message = f"no policy can say {unsayable[:60]!a}: it is not UTF-8, or is a template"
        hint = "give that cgroup another name"
        return Imported("", (Diagnostic.error("DP0620", None, message, hint=hint),), ())
    text = to_yaml(data, [*comments, *_processes(made, machine)])
    file = SourceFile(f"{name}.yaml", text)
    loaded = load([file], Overrides(), machine=machine)
    again, more = _again(loaded, capabilities, machine)
    for found in (loaded.found, more):
        if errors := [each for each in found if each.severity == "error"]:
            return Imported(text, relocated(errors, file, sources, spans or {}), ())
    meant = [each for each in loaded.found if each.severity == "warning"]
    told = [*relocated(meant, file, sources, spans or {})]
    told += [each for each in more if each.code == "DP0305"]
    differences: list[dict[str, str]] = []
    for source, decompiled, files in zip(sources, made, again, strict=False):
        these = _compare(source, decompiled, files)
        told += _warnings(these, source, decompiled)
        differences += these
    return Imported(text, tuple(told), tuple(differences))


def written(text: str, capabilities: Capabilities) -> list[dict[str, str]]:
    """Return the compiled kdamonds of a printed policy, as far as possible without a machine."""
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    return _again(loaded, capabilities, None)[0]


def _words(value: Any) -> Iterator[str]:
    """Yield all texts of plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _words(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)


def _processes(made: Sequence[Decompiled], machine: Machine | None) -> list[str]:
    """Name the processes of the pids."""
    targets = [target for each in made for target in each.data["targets"]]
    pids = dict.fromkeys(target["process"]["pid"] for target in targets if "process" in target)
    comms = {pid: read_or(machine, f"/proc/{pid}/comm").strip() for pid in pids if machine and pid}
    return [f"pid {pid} is {comm}" for pid, comm in comms.items() if comm]


def _again(
    loaded: Loaded, capabilities: Capabilities, machine: Machine | None
) -> tuple[list[dict[str, str]], list[Diagnostic]]:
    """Compile the policy, and look up its targets and cgroups if there is a machine."""
    spans: Spans = {}
    policies, found = compile_policies(loaded, capabilities, machine, Upkeep(unfed=True), spans)
    result = []
    for compiled in (each for policy_ in policies.values() for each in policy_.kdamonds):
        files = dict(compiled.files)
        for directory, lines in compiled.filters.items():
            files[Numbered({}, directory, Filter).count.path] = str(len(lines))
            for index, line in enumerate(lines):
                path = its_name(line.files.get(line.path_file, ""))
                own = {**line.files, line.path_file: path} if path else line.files
                files |= {f"{directory}/{index}/{name}": each for name, each in own.items()}
        if machine is None:
            files |= stated(compiled)
        else:
            try:
                bound = bind(compiled, machine)
            except DamonPolicyError as error:
                span = place(error, spans)
                found.append(Diagnostic.error(error.code, span, error.message, hint=error.hint))
            else:
                files = bound.files if isinstance(bound, Bound) else files
        result.append(files)
    return result, found


def _compare(source: Source, decompiled: Decompiled, files: Tree) -> list[dict[str, str]]:
    """Return the files that the policy would change when applied."""
    before = configuration(in_effect(startable(source.tree)))
    after = configuration(in_effect(files))
    targets = f"{Kdamond().targets.path}/"
    result = []
    for path in sorted({*before, *after}):
        usual = default(path)
        was, becomes = before.get(path, ""), after.get(path, usual)
        # a file of damo lacks some files of kernels
        added = path not in before and (source.spans or becomes == usual)
        if was == becomes or added or (source.system_ram and path.startswith(targets)):
            continue
        why = decompiled.why(path)
        result.append(
            {"kdamond": source.where, "file": path, "is": was, "becomes": becomes, "why": why}
        )
    return result


def _warnings(
    differences: Sequence[Mapping[str, str]], source: Source, decompiled: Decompiled
) -> Iterator[Diagnostic]:
    """Yield a warning for each difference, or one for all of a directory with one reason."""
    by_place: dict[str, list[Mapping[str, str]]] = {}
    for each in differences:
        by_place.setdefault(decompiled.place(each["file"]) or each["file"], []).append(each)
    for where, these in by_place.items():
        one, path = these[0], where
        message = f"the policy has not all of `{path}` of {source.where}"
        if len(these) == 1:
            path, was, becomes = one["file"], one["is"], one["becomes"]
            message = f"`{path}` of {source.where} is `{was}`, and the policy makes it `{becomes}`"
        yield Diagnostic.warning("DP0620", source.place(path), message, hint=one["why"])
