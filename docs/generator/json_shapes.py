"""The JSON documents: what commands really print on an emulated machine, as shapes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from damonpolicy.cli.emulate import LEVERS
from damonpolicy.cli.main import COMMANDS, main
from damonpolicy.cli.report import REPORTS
from damonpolicy.daemon.service import Service
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import places
from damonpolicy.kernel.sysfs import KDAMONDS
from generator.markdown import MADE

__all__ = ("page",)

_POLICIES = Path(__file__).resolve().parents[2] / "policies"
_NAMES = (
    *(name for name in COMMANDS if name not in ("report", "emulate", "top")),
    *(f"report {name}" for name in REPORTS),
    *(f"emulate {name}" for name in LEVERS),
)
"""All that prints a document of its own: `top` shows a screen."""

_BY_NAME = {
    "init.policies": "NAME",
    "status.policies": "NAME",
    "features.features": "FEATURE",
    "status.service.reloads": "RESULT",
    "status.service.feeds": "GOAL",
    "status.service.jobs": "JOB",
    "status.service.schemes": "SCHEME",
    "status.service.errors": "LOOP",
    "report snapshot.snapshots.regions.probe_hits": "PROBE",
}
"""Mappings whose keys are data."""

_UNITS = ("_bytes", "_us", "_ms", "_ns", "_permil", "_percent", "_per_second")
"""What the name of a number ends in that says its unit."""

_WORDS = ("severity", "state", "trend", "known", "verdict", "marks")
"""Texts that are one of some words."""

_ROUNDS = 6
_SETTING = "/sys/kernel/mm/ksm/use_zero_pages"
_GOALS = f"""version: 1
name: goals
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    probes: [{{name: anon, filters: [{{allow: anon}}]}}]
    schemes:
      - name: s
        action: stat
        quota:
          size: 1MiB
          every: 1s
          goals:
            - {{metric: some_mem_psi_us, target: 500us}}
            - {{metric: node_mem_used_bp, node: 0, target: 99%}}
            - {{metric: node_memcg_used_bp, node: 0, cgroup: /machine.slice, target: 9%}}
      - name: t
        action: stat
        quota:
          size: 1MiB
          every: 1s
          goals: [{{metric: user_input, target: 99, from: {{file: missing}}}}]
      - name: u
        action: stat
        watermarks: {{metric: free_mem_rate, every: 5s, high: 99%, mid: 98%, low: 1%}}
        filters: [{{allow: anon}}]
        quota:
          size: 1MiB
          time: 10ms
          every: 1s
          goals: [{{metric: node_mem_used_bp, node: 0, target: 99%}}]
  - name: p
    ops: vaddr
    targets: [{{process: {{name: worker}}}}]
    intervals:
      auto_tune: {{observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}
    schemes: [{{name: all, action: stat, quota: {{size: 1MiB, every: 1s}}}}]
settings: {{{_SETTING}: 1, /proc/sys/vm/swappiness: 60}}
tuning:
  - name: l
    setting: /proc/sys/vm/swappiness
    from: {{ksm: sleep_millisecs}}
    bounds: {{min: 1, max: 100}}
    every: 1s
  - name: m
    quota: p/all
    from: {{file: missing}}
    bounds: {{min: 1MiB, max: 2MiB}}
    every: 1s
"""
_MODULE = """version: 1
name: module
modules: {damon_stat: {enabled: false}, damon_reclaim: {enabled: true}}
"""
_PROCESS, _RAM = '{process: {name: "{{ program }}"}}', "{system_ram: true}"
_TYPES = {str: "text", bool: "true or false", int: "number", float: "number", type(None): "null"}
_LAST = "null"


def page() -> str:
    """Return the page."""
    documents = _documents()
    envelope = _shape({**documents["apply"][0], "data": None}, "")
    envelope |= {"kernel": {"name": {"text"}, "release": {"text"}}, "data": {"…"}}
    envelope["diagnostics"] = [_merged(*_found(documents))]
    parts = [
        "# JSON output\n",
        MADE,
        (
            "`--format json` prints one document on stdout, for every exit code. `ok` is true for the"
            " exit codes 0 and 2. `kernel` is null where no machine was looked at, `data` where the"
            " command failed. `changed` says whether something was changed; of `plan` and"
            " `--dry-run`, whether it would be. The number in `schema` grows when a key changes its meaning or goes;"
            " keys may be added.\n"
        ),
        _block({**envelope, "schema": {'"damonpolicy.COMMAND/1"'}}),
        (
            "Each command's `data` follows, as a shape: `[…]` is a list of such, `or null` says that"
            " the value may be missing. The name of a number says its unit, or a remark does.\n"
        ),
    ]
    shapes = {
        name: _merged(*(_shape(each["data"], name) for each in found if each["data"]))
        for name, found in documents.items()
    }
    like_plan = [name for name in _NAMES if set(shapes["plan"]) <= set(shapes[name])]
    plan = _merged(*(shapes[name] for name in like_plan))
    for name in _NAMES:
        parts.append(f"## {name}\n")
        if name == "schema":
            parts.append("The JSON Schema of policies itself.\n")
        elif name == "plan":
            parts.append(_block({key: plan[key] for key in shapes["plan"]}))
        elif name in like_plan:
            more = {key: shape for key, shape in shapes[name].items() if key not in shapes["plan"]}
            parts += ["As [plan](#plan), and:\n", _block(more)]
        else:
            parts.append(_block(shapes[name], name))
    return "\n".join(parts)


def _rounds(service: Service, _: Any) -> None:
    """Let a service look again and again, and have someone change what is ours meanwhile.

    It follows nobody: a job of it fails.
    """
    machine: Any = service.machine
    fails = mock.patch("damonpolicy.daemon.follow.Follower.look", side_effect=OSError("no"))
    with fails:
        for number in range(_ROUNDS):
            for job in service.jobs:
                job.due = 0.0
            service.step()
            service.machine.sleep(0.3)
            if number == 0:
                machine.start_process("worker")
            if number == 2:
                service.machine.write(_SETTING, "0")


def _documents() -> dict[str, list[dict[str, Any]]]:
    """Run every command, so that everything that a document can hold is seen once."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in _NAMES}
    here = Path.cwd()
    # a guard would look for a state that is gone with the directory
    guard = mock.patch("damonpolicy.cli.confirmation.start_guard")
    # some rounds of a service, and what it says of itself stays
    rounds = mock.patch("damonpolicy.daemon.service.Service.run", _rounds)
    stays = mock.patch("damonpolicy.daemon.record.RecordJob.remove")
    silent = mock.patch("damonpolicy.cli.logs.configure")
    temporary = tempfile.TemporaryDirectory()
    with temporary as place, _environment(XDG_STATE_HOME=place), guard, rounds, stays, silent:
        os.chdir(place)
        try:
            policy = {name: str(_POLICIES / f"{name}.yaml") for name in ("ksm", "monitor")}
            wrong = Path("wrong.yaml")
            wrong.write_text("version: 1\nname: wrong\nkdamond: []\n")
            twice = Path("twice.yaml")
            twice.write_text("version: 1\nversion: 1\nname: twice\n")
            text = Path(policy["monitor"]).read_text(encoding="utf-8")
            waiting = Path("waiting.yaml")
            waiting.write_text(
                text.replace("name: monitor", "name: waiting")
                .replace("ops: vaddr", "ops: vaddr\n    when_absent: wait")
                .replace("qemu-system-x86_64", "postgres")
            )
            module = Path("module.yaml")
            module.write_text(_MODULE)
            reclaim = str(_POLICIES / "proactive-reclaim.yaml")
            other = Path("other.yaml")
            other.write_text(text.replace("ops: vaddr", "ops: paddr").replace(_PROCESS, _RAM))
            for line in (
                ("status",), ("history",), ("doctor",), ("init",), ("init", "ksm"), ("validate", policy["ksm"]), ("validate", str(wrong)),
                ("validate", str(twice)), ("plan", policy["ksm"]), ("recover",),
                ("apply", policy["ksm"]), ("apply", policy["monitor"]), ("plan", str(other)),
                ("apply", str(other)), ("apply", policy["monitor"]),
                ("apply", str(waiting), reclaim), ("status", "--update"), ("history",), ("features",), ("doctor",), ("diff",),
            ):  # fmt: skip
                _run(found, line)
            base = places.emulated_directory("emulated:7.3", None) / "machine"
            machine = EmulatedMachine.create("7.3", store=base)
            machine.write("/sys/kernel/mm/ksm/run", "0")
            for line in (
                ("diff",), ("status",), ("remove", "ksm"), ("rollback",), ("confirm",),
                ("import",), ("render", reclaim), ("render", str(module), "--cmdline"),
                ("plan", policy["monitor"], "--set", "program=nginx"),
                ("apply", policy["monitor"], "--set", "program=nginx", "--confirm-within", "1h"),
                ("status",), ("history",), ("confirm",), ("schema",), ("completion", "bash"),
            ):  # fmt: skip
                _run(found, line)
            _seen(found)
            goals = Path("goals.yaml")
            goals.write_text(_GOALS)
            for line in (("run", str(goals)), ("status",), ("status", "--update")):
                _run(found, line)
            _seen(found)
            machine.write(f"{KDAMONDS}/1/state", "off")
            machine.write(f"{KDAMONDS}/1/contexts/nr_contexts", "1")
            for line in (
                ("plan", policy["monitor"]), ("apply", policy["monitor"]), ("stop", "--all"),
                ("apply", str(module)), ("status",), ("stop", "--all"),
                ("run", str(wrong)), ("status",), ("rollback",), ("remove", "monitor"),
                ("show", "1"), ("explain", "quota.size"), ("explain", "DP0217"),
                ("emulate", "start", "redis", "--pid", "77"), ("emulate", "exit", "77"),
                ("emulate", "read", "/proc/1/comm"), ("emulate", "write", _SETTING, "1"),
                ("emulate", "forward", "1s"), ("emulate", "reboot"),
            ):  # fmt: skip
                _run(found, line)
        finally:
            os.chdir(here)
    return found


def _seen(found: dict[str, list[dict[str, Any]]]) -> None:
    """Look at what runs, in every report."""
    for line in (
        ("report", "snapshot"), ("report", "histogram"), ("report", "histogram", "--percentiles"),
        ("report", "histogram", "--by", "idle"), ("report", "wss"), ("report", "heatmap"),
        ("report", "heatmap", "--sort", "temperature"), ("report", "rank"), ("report", "numa"),
        ("record", "--count", "8", "--out", "seen.parquet"), ("convert", "seen.parquet", "seen.json"), ("report", "wss", "seen.parquet"),
    ):  # fmt: skip
        _run(found, line)


@contextlib.contextmanager
def _environment(**values: str) -> Any:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(found: dict[str, list[dict[str, Any]]], words: tuple[str, ...]) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*words, "--kernel", "emulated:7.3", "--format", "json"])
    name = " ".join(words[:2]) if words[0] in ("report", "emulate") else words[0]
    found[name].append(json.loads(out.getvalue()))


def _found(documents: dict[str, list[dict[str, Any]]]) -> list[Any]:
    everything = (each for listed in documents.values() for each in listed)
    return [_shape(one, "") for each in everything for one in each["diagnostics"]]


def _shape(value: Any, path: str) -> Any:
    """Return a mapping of shapes, a list of one shape or none, or a set of types."""
    if isinstance(value, dict):
        if path in _BY_NAME:
            return {_BY_NAME[path]: _merged(*(_shape(v, f"{path}.*") for v in value.values()))}
        return {key: _shape(inner, f"{path}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_merged(*(_shape(each, path) for each in value))] if value else []
    return {_TYPES[type(value)]}


def _merged(*shapes: Any) -> Any:
    """Return one shape for all; a mapping beside null is a mapping that may be missing."""
    mappings = [each for each in shapes if isinstance(each, dict)]
    if mappings:
        keys = dict.fromkeys(key for each in mappings for key in each)
        merged = {key: _merged(*(each[key] for each in mappings if key in each)) for key in keys}
        nothing = any(isinstance(each, set) and each for each in shapes)  # not what was empty
        return {**merged, "": {_LAST}} if nothing else merged
    lists = [each for each in shapes if isinstance(each, list)]
    if lists:
        inner = [one for each in lists for one in each]
        return [_merged(*inner)] if inner else []
    return set().union(*(each for each in shapes if isinstance(each, set)))


@cache
def _texts() -> dict[str, str]:
    path = Path(__file__).resolve().parents[1] / "texts/json.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _described(above: str, key: str, shape: Any) -> str:
    """Return what a number or a word means; raises SystemExit where a number's unit is not said."""
    while isinstance(shape, list) and shape:
        shape = shape[0]
    if not isinstance(shape, set):
        return ""
    text = _texts().get(f"{above}.{key}") or _texts().get(key, "")
    if "number" not in shape and f"{above}.{key}" not in _texts() and key not in _WORDS:
        return ""
    if "number" in shape and not text and not key.endswith(_UNITS):
        raise SystemExit(f"docs/texts/json.toml says nothing of `{above}.{key}`")
    return f"  # {text}" if text else ""


def _block(shape: Any, above: str = "") -> str:
    return "```text\n" + "\n".join(_lines(shape, "", above)) + "\n```\n"


def _lines(shape: Any, indent: str, above: str = "") -> list[str]:
    if isinstance(shape, dict):
        lines = ["{"]
        for key, inner in shape.items():
            if key:
                first, *rest = _lines(inner, indent + "  ", key)
                told = _described(above, key, inner)
                lines += [f"{indent}  {key}: {first}{told}", *rest]
        return [*lines, f"{indent}}}" + (" or null" if "" in shape else "")]
    if isinstance(shape, list):
        if not shape:
            return ["[text]"]  # what no run has filled: remarks of rare kinds
        first, *rest = _lines(shape[0], indent, above)
        return [f"[{first}]"] if not rest else [f"[{first}", *rest[:-1], f"{rest[-1]}]"]
    ordered = sorted(shape - {_LAST}) + ([_LAST] if _LAST in shape else [])
    return [" or ".join(ordered)]
