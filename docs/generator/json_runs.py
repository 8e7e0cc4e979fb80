"""What commands really print with `--format json`, on emulated machines."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, get_args
from unittest import mock

from damonpolicy.cli.commands.emulate import LEVERS
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS, main
from damonpolicy.daemon.scheduler import Service
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import state_directory
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.reports.rank import By, Of

__all__ = ("NAMES", "NOTHING", "documents")

_POLICIES = Path(__file__).resolve().parents[2] / "policies"
NAMES = (
    *(name for name in COMMANDS if name not in ("report", "emulate", "top")),
    *(f"report {name}" for name in REPORTS),
    *(f"emulate {name}" for name in LEVERS),
)
"""All that prints data of its own."""
NOTHING = ("damonpolicy", "report", "emulate", "top")
"""What a document is of that has no data: no command is known, or it shows a screen."""

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
_NODES = """version: 1
name: nodes
kdamonds:
  - for_each: {node: all}
    name: "of-{{ node }}"
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {cpus: {numa_node: "{{ node }}"}}
    schemes: [{name: all, action: stat}]
  - name: of-two
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {cpus: "0-3"}
    schemes: [{name: all, action: stat}]
modules: {damon_stat: {enabled: false}}
"""
_LATE = "emulated:damon-next"
"""A kernel that can tell whose accesses are counted."""
_MODULE = """version: 1
name: module
modules: {damon_stat: {enabled: false}, damon_reclaim: {enabled: true}}
"""
_SORT = """version: 1
name: sort
modules: {damon_stat: {enabled: false}, damon_lru_sort: {enabled: true}}
"""
_OLDER = ("emulated:5.18", "emulated:6.12")
"""Kernels whose schemes tell less."""
_PROCESS, _RAM = '{process: {name: "{{ program }}"}}', "{system_ram: true}"


def _rounds(service: Service, _: Any) -> None:
    """Let a service look again and again.

    It follows nobody: a job of it fails.
    """
    machine: Any = service.machine
    fails = mock.patch(
        "damonpolicy.daemon.jobs.follow.Follower.look", side_effect=OSError("it cannot")
    )
    with fails:
        for number in range(_ROUNDS):
            for job in service.jobs:
                job.due = 0.0
            service.step()
            machine.sleep(0.3)
            if number == 0:
                machine.start_process("worker")


@cache
def documents() -> dict[str, list[dict[str, Any]]]:
    """Run every command, so that everything that a document can hold is seen once."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*NAMES, *NOTHING)}
    here = Path.cwd()
    # a guard would look for a state that is gone with the directory
    guard = mock.patch("damonpolicy.cli.options.confirmation.start_guard")
    # some rounds of a service, and what it says of itself stays
    rounds = mock.patch("damonpolicy.daemon.scheduler.Service.run", _rounds)
    stays = mock.patch("damonpolicy.daemon.jobs.status_file.RecordJob.remove")
    silent = mock.patch("damonpolicy.cli.logs.configure")
    # no emulated process has pages
    pages = mock.patch(
        "damonpolicy.cli.commands.reports.numa.process_nodes", return_value={0: 4096}
    )
    temporary = tempfile.TemporaryDirectory()
    with (
        temporary as place,
        _environment(XDG_STATE_HOME=place),
        guard,
        rounds,
        stays,
        silent,
        pages,
    ):
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
            sort = Path("sort.yaml")
            sort.write_text(_SORT)
            reclaim = str(_POLICIES / "proactive-reclaim.yaml")
            other = Path("other.yaml")
            other.write_text(text.replace("ops: vaddr", "ops: paddr").replace(_PROCESS, _RAM))
            for line in (
                (), ("nosuch",), ("report", "nosuch"), ("emulate", "nosuch"), ("top", "nosuch"),
                ("status",), ("history",), ("doctor",), ("init",), ("init", "ksm"), ("init", "ksm", "--out", "-"), ("validate", policy["ksm"]), ("validate", str(wrong)),
                ("validate", str(twice)), ("plan", policy["ksm"]), ("recover",), ("apply", "--boot"),
                ("apply", policy["ksm"]), ("apply", policy["monitor"]), ("plan", str(other)),
                ("apply", str(other)), ("apply", policy["monitor"]),
                ("apply", str(waiting), reclaim), ("status", "--update"), ("history",), ("features",), ("doctor",), ("diff",),
            ):  # fmt: skip
                _run(found, line)
            base = state_directory.emulated_directory("emulated:7.3", None) / "machine"
            machine = EmulatedMachine.create("7.3", store=base)
            machine.write("/sys/kernel/mm/ksm/run", "0")
            for line in (
                ("diff",), ("diff", policy["ksm"]), ("status",), ("remove", "ksm", "--dry-run"), ("rollback", "--dry-run"), ("stop", "--all", "--dry-run"),
                ("remove", "ksm"), ("rollback",), ("confirm",),
                ("render", reclaim), ("render", str(module), "--cmdline"),
                ("plan", policy["monitor"], "--set", "program=nginx"),
                ("apply", policy["monitor"], "--set", "program=nginx", "--confirm-within", "1h"),
                ("status",), ("history",), ("show", "monitor"), ("confirm",), ("schema",),
                ("completion", "bash"),
            ):  # fmt: skip
                _run(found, line)
            _imported(found, machine)
            _seen(found)
            goals = Path("goals.yaml")
            goals.write_text(_GOALS)
            for line in (("run", str(goals)), ("status",), ("status", "--update")):
                _run(found, line)
            _seen(found)
            _chosen(found)
            nodes = Path("nodes.yaml")
            nodes.write_text(_NODES)
            for line in (
                ("apply", str(nodes)), ("report", "numa"), ("emulate", "forward", "1s"),
                ("report", "numa"), ("status",),
            ):  # fmt: skip
                _run(found, line, _LATE)
            for older in _OLDER:
                for line in (
                    ("apply", policy["monitor"]), ("status",), ("report", "snapshot"), ("features",),
                ):  # fmt: skip
                    _run(found, line, older)
            machine.write(f"{KDAMONDS}/1/state", "off")
            machine.write(f"{KDAMONDS}/1/contexts/nr_contexts", "1")
            for line in (
                ("diff",), ("plan", policy["monitor"]), ("apply", policy["monitor"]), ("stop", "--all"),
                ("apply", str(module)), ("status",), ("stop", "--all"), ("apply", str(sort)), ("status",), ("stop", "--all"),
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


def _imported(found: dict[str, list[dict[str, Any]]], machine: EmulatedMachine) -> None:
    """Import what runs, with something that no policy would say."""
    file = f"{KDAMONDS}/0/contexts/0/schemes/0/target_nid"
    before = machine.read(file)
    machine.write(file, "1")
    _run(found, ("import",))
    machine.write(file, before)


def _seen(found: dict[str, list[dict[str, Any]]]) -> None:
    """Look at what runs, in every report."""
    for line in (
        ("report", "snapshot"), ("report", "histogram"), ("report", "histogram", "--percentiles"),
        ("report", "histogram", "--by", "idle"), ("report", "wss"), ("report", "heatmap"),
        ("report", "heatmap", "--sort", "temperature"), ("report", "rank"), ("report", "numa"),
        ("record", "--count", "8", "--out", "seen.parquet"), ("convert", "seen.parquet", "seen.json"), ("report", "wss", "seen.parquet"),
    ):  # fmt: skip
        _run(found, line)


def _chosen(found: dict[str, list[dict[str, Any]]]) -> None:
    """Ask reports for each of what their options choose from."""
    for by in get_args(By):
        for of in get_args(Of):
            for more in ((), ("--reverse",)):
                _run(found, ("report", "rank", "--by", by, "--of", of, *more))
    for options in (
        ("--value", "percent"), ("--value", "temperature", "--time", "0s-1h"), ("--probe", "anon", "--kdamond", "goals/k"),
        ("--sort", "temperature", "--hottest-first"), ("--guide",), ("--out", "map.csv"),
    ):  # fmt: skip
        _run(found, ("report", "heatmap", *options))


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


def _run(
    found: dict[str, list[dict[str, Any]]], words: tuple[str, ...], kernel: str = "emulated:7.3"
) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*words, "--kernel", kernel, "--format", "json"])
    document = json.loads(out.getvalue())
    name = document["schema"].partition(".")[2].partition("/")[0]
    found[name.replace("-", " ")].append(document)
