"""Policies and their results: the plan for people and tools, and the tree.

A case is a folder with ``case.toml``: ``why`` it exists, the kernel, commands that run ``before``,
and the ``command`` in question. `current.txt` is the tree that it finds, `tree.txt` what it leaves;
they, `plan.txt` and `plan.json` are compared in full, and `DAMONPOLICY_UPDATE_GOLDEN=1` rewrites
them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.tree import (
    configuration,
    empty_slot,
    slot_numbers,
    slot_tree,
    snapshot,
)
from damonpolicy.kernel.system.machine import read_value
from tests.world import ROOT, World

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/case.toml"))


@pytest.fixture
def place(cli, tmp_path, monkeypatch):
    """Make a case's folder the current one, and its machine the one that commands find."""

    def make(folder):
        case = tomllib.loads((folder / "case.toml").read_text())
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        for source in (*folder.glob("*.yaml"), *(ROOT / "policies").glob("*.yaml")):
            shutil.copy(source, tmp_path / source.name)
        machine = EmulatedMachine.create(case["kernel"], spec=case.get("machine"))
        monkeypatch.setenv("DAMONPOLICY_KERNEL", machine.name)
        monkeypatch.setattr("damonpolicy.engine.machines.open_machine", lambda *_: machine)
        if "foreign" in case:
            World(machine, tmp_path).foreign(**case["foreign"])
        for command in case.get("before", []):
            outcome = cli(*command)
            assert outcome.code == 0, outcome.err
        return case, machine

    return make


def test_each_case_says_why_it_exists():
    reasons = {
        folder.name: tomllib.loads((folder / "case.toml").read_text()).get("why", "")
        for folder in CASES
    }

    assert [name for name, why in reasons.items() if not re.fullmatch(r"[A-Z`]\S* .+\.", why)] == []
    assert len(set(reasons.values())) == len(reasons), "two cases for one reason are one too many"


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_case(folder, place, cli):
    case, machine = place(folder)
    verb, *rest = case["command"]
    if verb == "apply":
        plan = cli("plan", *rest)
        data = cli("plan", *rest, "--format", "json").json["data"]
        assert plan.code == case.get("exit", 2), plan.err
    else:
        plan = cli(*case["command"])
        case, machine = place(folder)
    before = len(machine.log)
    settings = [each["path"] for each in data["settings"]] if verb == "apply" else []
    compare(folder / "current.txt", tree(machine, settings))
    outcome = cli(*case["command"], "--format", "json")
    assert outcome.code == 0, outcome.out
    if verb != "apply":
        data = {key: each for key, each in outcome.json["data"].items() if key != "generation"}

    written = [(each.path, each.text) for each in machine.log[before:]]
    planned = [(each["path"], each["after"]) for each in data["operations"]]
    questions = {"update_schemes_stats", "update_schemes_effective_quotas"}
    assert planned == [each for each in written if each[1] not in questions]
    compare(folder / "plan.txt", plan.out + ("\n" + plan.err if plan.err else ""))
    compare(folder / "plan.json", pretty(data) + "\n")
    compare(folder / "tree.txt", tree(machine, [each["path"] for each in data["settings"]]))
    if verb == "apply":
        again = cli("plan", *rest)
        assert (again.code, "No changes.") == (0, again.out.splitlines()[-1])


def compare(golden, text):
    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert golden.read_text() == text


def pretty(data, indent=""):
    """JSON with what is short on a line of its own: a diff of it can be read."""
    line = json.dumps(data, ensure_ascii=False)
    if len(line) < 200 or not isinstance(data, (dict, list)):
        return line
    inner = indent + " "
    if isinstance(data, dict):
        parts = [f"{inner}{json.dumps(key)}: {pretty(v, inner)}" for key, v in data.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    parts = [inner + pretty(each, inner) for each in data]
    return "[\n" + ",\n".join(parts) + f"\n{indent}]"


def tree(machine, settings):
    """Return what the kernel holds now, without unused slots and what it changes itself."""
    found = snapshot(machine)
    lines = [f"nr_kdamonds {found['nr_kdamonds']}"]
    for slot in slot_numbers(found):
        own = slot_tree(found, slot)
        if empty_slot(own):
            continue
        lines.append(f"{slot}/state {own['state']}")
        lines += [f"{slot}/{path} {value}".rstrip() for path, value in configuration(own).items()]
    lines += [f"{path} {read_value(machine, path)}" for path in settings if machine.exists(path)]
    return "\n".join(lines) + "\n"


def test_every_shipped_policy_has_a_case_on_every_kernel_it_is_for():
    from tests.world import APPLIES

    cases = {case.name for case in CASES}
    wanted = {f"{name}-{kernel}" for kernel, names in APPLIES.items() for name in names}
    assert wanted <= cases


def test_no_golden_file_is_an_orphan():
    for case in Path(__file__).parent.iterdir():
        if case.is_dir() and case.name != "__pycache__":
            assert (case / "case.toml").exists(), case.name
