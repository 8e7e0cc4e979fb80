"""DAMON's modules on a real kernel: started as written, changed while they run, put back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.kernel.damon.modules import COMMIT_INPUTS, PARAMETERS, REGION, parameter_path
from damonpolicy.kernel.system.machine import LiveMachine, read_value
from damonpolicy.policy.source.files import SourceFile

from .policy import MIB, look, run, someone_elses, wait_for
from .spoiled import apply_spoiled, compiled

MODULES = ("damon_reclaim", "damon_lru_sort")
TRACING = Path("/sys/kernel/tracing")
AWAKE = "wmarks_interval: 1s, wmarks_high: 100%, wmarks_mid: 99.9%, wmarks_low: 0%"
ASLEEP = "wmarks_interval: 1s, wmarks_high: 0.1%, wmarks_mid: 0.1%, wmarks_low: 0%"


def parameters() -> dict[str, str]:
    """Return what all parameters hold that can be set."""
    machine = LiveMachine()
    return {path: read_value(machine, path) for path in PARAMETERS if machine.exists(path)}


def read(module: str, name: str) -> str:
    return read_value(LiveMachine(), parameter_path(module, name))


def by_hand(module: str, name: str, value: object) -> None:
    Path(parameter_path(module, name)).write_text(str(value), encoding="ascii")


def runs(module: str) -> bool:
    """Return whether the thread that the module names is there."""
    comm = Path(f"/proc/{read(module, 'kdamond_pid')}/comm")
    return comm.exists() and comm.read_text("ascii").startswith("kdamond")


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    """Whatever a test does, the policies' end leaves the machine as it was."""
    before = {**look(), **parameters()}
    yield
    assert run("stop", "--all").code == 0
    assert before == {**look(), **parameters()}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def policy(tmp_path: Path, module: str) -> PolicyFile:
    return PolicyFile(tmp_path / "p.yaml", module)


class PolicyFile:
    """A policy of one module, rewritten for every change."""

    def __init__(self, path: Path, module: str) -> None:
        self.path = path
        self.module = module

    def text(self, given: str) -> str:
        """The policy with some parameters, in the form of a flow mapping."""
        return (
            "version: 1\nname: p\nmodules:\n"
            f"  damon_stat: {{enabled: false}}\n  {self.module}: {{{given}}}\n"
        )

    def apply(self, given: str) -> str:
        """Apply, and return what was printed."""
        self.path.write_text(self.text(given), encoding="utf-8")
        outcome = run("apply", self.path)
        assert outcome.code == 0, outcome.err
        return outcome.out


def monitored() -> tuple[int, int]:
    """Return the lowest and the highest address that is monitored, as the kernel traces it."""
    event = TRACING / "events/damon/damon_aggregated/enable"
    found: list[tuple[int, int]] = []

    def seen() -> bool:
        found[:] = [
            (int(start), int(end))
            for start, end in re.findall(
                r"damon_aggregated: .* (\d+)-(\d+): ", (TRACING / "trace").read_text()
            )
        ]
        return len(found) > 20

    (TRACING / "trace").write_text("")
    event.write_text("1")
    try:
        assert wait_for(seen), "nothing is monitored"
    finally:
        event.write_text("0")
    return min(start for start, _ in found), max(end for _, end in found)


def test_it_runs_with_its_parameters_and_leaves_nothing(policy: PolicyFile, module: str) -> None:
    before = parameters()
    policy.apply("enabled: true, quota_ms: 20ms, min_nr_regions: 20, wmarks_high: 60%")

    assert read(module, "enabled") == "Y"
    assert read(module, "quota_ms") == "20"
    assert read(module, "min_nr_regions") == "20"
    assert read(module, "wmarks_high") == "600"
    assert runs(module)
    assert run("diff").code == 0, "the region that the kernel chose is nobody's change"
    assert run("plan", policy.path).code == 0
    assert run("remove", "p").code == 0
    assert before == parameters()


@pytest.mark.parametrize("state", [AWAKE, ASLEEP], ids=["awake", "asleep"])
def test_a_module_that_runs_takes_changes(policy: PolicyFile, module: str, state: str) -> None:
    """The region is what can be seen of it: the kernel traces what it monitors."""
    policy.apply(f"enabled: true, {state}")
    thread = read(module, "kdamond_pid")
    region = f"monitor_region_start: {16 * MIB}, monitor_region_end: {64 * MIB}"

    out = policy.apply(f"enabled: true, {state}, {region}")

    assert f"{module} goes on running, with new parameters within 1s" in out
    assert thread == read(module, "kdamond_pid")
    assert runs(module)
    assert read(module, COMMIT_INPUTS) == "N"
    if state == AWAKE:
        assert monitored() == (16 * MIB, 64 * MIB)

    policy.apply(f"enabled: true, {state}")

    chosen = [int(read(module, name)) for name in REGION]
    assert chosen[1] > 64 * MIB, "the kernel chose again"
    assert run("diff").code == 0
    if state == AWAKE:
        assert monitored()[1] > 64 * MIB
    assert thread == read(module, "kdamond_pid")


def test_someone_elses_module_gets_its_own_parameters_back(policy: PolicyFile, module: str) -> None:
    """And runs with them: the same kdamond all the time."""
    names = ("wmarks_interval", "wmarks_high", "wmarks_mid", "wmarks_low", *REGION)
    kept = {name: read(module, name) for name in names}
    values = (1_000_000, 1000, 999, 0, 16 * MIB, 64 * MIB)
    for name, value in zip(names, values, strict=True):
        by_hand(module, name, value)
    by_hand(module, "enabled", "Y")
    try:
        thread = read(module, "kdamond_pid")
        policy.apply(f"monitor_region_end: {128 * MIB}, monitor_region_start: {96 * MIB}")
        assert monitored() == (96 * MIB, 128 * MIB)
        assert run("remove", "p").code == 0

        assert monitored() == (16 * MIB, 64 * MIB)
        assert thread == read(module, "kdamond_pid")
    finally:
        by_hand(module, "enabled", "N")
        for name, text in kept.items():
            by_hand(module, name, text)


def test_a_kdamond_of_someone_else_is_in_the_way(policy: PolicyFile) -> None:
    policy.path.write_text(policy.text("enabled: true"), encoding="utf-8")
    with someone_elses() as theirs:
        before = {**look(), **parameters()}
        outcome = run("apply", policy.path)

        assert outcome.code == ExitCode.FOREIGN
        assert f"pid {theirs}" in outcome.err
        assert before == {**look(), **parameters()}


def test_a_module_of_someone_else_is_in_the_way(module: str, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(
        "version: 1\nname: k\nkdamonds:\n  - {name: k, ops: paddr, targets: [{system_ram: true}]}\n"
    )
    region = {name: read(module, name) for name in REGION}
    by_hand(module, "enabled", "Y")
    try:
        outcome = run("apply", path)
        assert outcome.code == ExitCode.FOREIGN
        assert f"modules: {{{module}: {{enabled: false}}}}" in outcome.err
    finally:
        by_hand(module, "enabled", "N")
        for name, text in region.items():
            by_hand(module, name, text)


def test_a_module_and_kdamonds_follow_each_other(policy: PolicyFile, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(
        "version: 1\nname: k\nkdamonds:\n  - {name: k, ops: paddr, targets: [{system_ram: true}]}\n"
    )
    policy.apply("enabled: true")
    assert run("apply", path).code == ExitCode.INVALID
    assert run("apply", path, "--prune").code == 0
    assert read(policy.module, "enabled") == "N"
    assert run("apply", policy.path, "--prune").code == 0
    assert runs(policy.module)
    assert run("rollback").code == 0
    assert read(policy.module, "enabled") == "N"


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_real_errors_at_every_operation_are_undone(policy: PolicyFile, *, running: bool) -> None:
    """The kernel refuses one operation after the other; each time all is as it was."""
    if running:
        policy.apply(f"enabled: true, {AWAKE}")
    before, undone = parameters(), 0
    thread = read(policy.module, "kdamond_pid")
    text = policy.text(
        f"enabled: true, {AWAKE}, quota_ms: 20ms, monitor_region_start: {16 * MIB},"
        f" monitor_region_end: {64 * MIB}"
    )
    policies = compiled([SourceFile("p.yaml", text)])
    while True:
        try:
            total = apply_spoiled(policies, undone)
        except DamonPolicyError as error:
            assert "EINVAL" in error.message, error
            assert "as it was" in error.message, error
            assert before == parameters(), f"operation {undone}"
            assert thread == read(policy.module, "kdamond_pid"), "nothing was restarted"
            undone += 1
        else:
            assert total == undone
            break

    assert undone == (4 if running else 8)
    if running:
        assert monitored() == (16 * MIB, 64 * MIB)


def test_what_the_kernel_would_refuse_is_refused_before(policy: PolicyFile) -> None:
    """With the parameters that the machine has: nothing is written."""
    before = parameters()
    policy.path.write_text(policy.text("enabled: true, min_nr_regions: 2000"), encoding="utf-8")
    outcome = run("apply", policy.path)

    assert outcome.code == ExitCode.INVALID
    assert f"{policy.path}:5:" in outcome.err
    assert "error[DP0201]" in outcome.err
    assert before == parameters()
