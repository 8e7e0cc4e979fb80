"""The units for systemd: they allow writes to what a policy may set, and to nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel import settings
from damonpolicy.kernel.system.host import MODULES
from damonpolicy.kernel.system.machine import ADMIN

UNITS = sorted((Path(__file__).parents[1] / "systemd").glob("*.service"))
DAMON = "/sys/kernel/mm/damon"
NUMA = "/proc/sys/kernel/numa_balancing"
PLACES = (
    *(each.rstrip("/") for each in settings.ALLOWED),
    *(f"/sys/module/{module}/parameters" for module in (*MODULES, "zswap")),
    NUMA,
    f"{NUMA}_promote_rate_limit_MBps",
)
CLOSED = (
    "/proc/sysrq-trigger", "/proc/irq/1/smp_affinity", "/proc/self/oom_score_adj", "/proc/1/mem",
    "/proc/sys/kernel/core_pattern", "/proc/sys/fs/file-max", "/proc/sys/vmx", "/proc/mtrr",
    "/sys/kernel/mm/hugepages", "/sys/kernel/mm/damonx", "/sys/power/state", "/sys/fs/cgroup/x",
    "/sys/module/kernel/parameters/panic", "/sys/module/zswap/uevent", "/etc/damonpolicy/x", "/usr",
    "/var/lib/other", "/root/x", "/run/x",
)  # fmt: skip
MOST = 30
"""Tenths of what `systemd-analyze security` counts, where 100 is a unit without any of it."""
units = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)


def read(unit):
    """Values by key, those of a key that is there more than once in order."""
    found = {}
    for line in unit.read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).extend(value.split())
    return found


def within(path, places):
    return [each for each in places if path == each or path.startswith(f"{each}/")]


def writable(unit, path):
    """Whether the unit lets a file be written: of what names it, the longest decides."""
    said = read(unit)
    assert said["ProtectSystem"] == ["strict"], "what nothing names is for reading only"
    opened = [each.removeprefix("-") for each in said["ReadWritePaths"]]
    closed = [each.removeprefix("-") for each in said["ReadOnlyPaths"] + said["InaccessiblePaths"]]
    assert set(closed) >= {"/sys", "/proc"}, "ProtectSystem= leaves them out"
    longest = max(map(len, within(path, opened)), default=-1)
    return longest > max(map(len, within(path, closed)), default=0)


@units
def test_what_a_policy_may_set_can_be_written(unit):
    assert writable(unit, f"{ADMIN}/kdamonds/0/state")
    for place in PLACES:
        assert writable(unit, f"{place}/x" if place != NUMA else place), place


@units
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_every_setting_of_a_machine_can_be_written(unit, kernel):
    machine, found = EmulatedMachine.create(kernel), 0
    waiting = ["/sys/module", "/sys/kernel/mm", "/proc/sys"]
    while waiting:
        path = waiting.pop()
        for entry in machine.scan(path):
            inside = f"{path}/{entry.name}"
            if entry.is_dir:
                waiting += [inside] if inside != DAMON else []
            else:
                allowed = not settings.refusal(machine, inside)
                # of modules some files are reports, which are not set although they lie there
                assert allowed <= writable(unit, inside), inside
                found += allowed

    assert found > 20


@units
def test_nothing_else_can_be_written(unit):
    said = read(unit)
    opened = {each.removeprefix("-") for each in said["ReadWritePaths"]} - {DAMON}

    assert all(settings.usual(each) or settings.usual(f"{each}/x") for each in opened)
    assert not [each for each in CLOSED if writable(unit, each)]
    assert said["RuntimeDirectory"] == said["StateDirectory"] == ["damonpolicy"]
    assert not {"ReadWriteDirectories", "BindPaths", "ProtectKernelTunables"} & set(said)


def test_all_are_held_as_tightly():
    """What differs is what only the service does: it listens, and speaks to exporters."""
    service, *others = (read(unit) for unit in sorted(UNITS, key=lambda unit: len(unit.stem)))
    own = {"CapabilityBoundingSet", "RestrictAddressFamilies", "PrivateNetwork"}
    hardened = {
        key
        for key in service
        if key.startswith(("Protect", "Private", "Restrict", "SystemCall", "Read", "Inaccessible"))
        or key in ("LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "KeyringMode")
    }  # fmt: skip
    for other in others:
        assert {key: other.get(key) for key in hardened - own} == {
            key: service[key] for key in hardened - own
        }
        for key in own - {"PrivateNetwork"}:
            assert set(other[key]) < set(service[key])


def test_a_service_that_ends_in_any_way_lets_its_goals_rest():
    """By what needs no library: who could not run because of one is ended properly, too."""
    said = read(next(unit for unit in UNITS if unit.stem == "damonpolicy"))

    assert said["ExecStopPost"] == ["-/usr/bin/env", "damonpolicy-recover", "--neutral"]


def test_the_unit_that_recovers_needs_python_and_the_engine_alone():
    """Where a library is broken the command line does not start, and still this is to end."""
    rescue = read(next(unit for unit in UNITS if unit.stem == "damonpolicy-recover"))
    project = tomllib.loads((UNITS[0].parents[1] / "pyproject.toml").read_text("utf-8"))["project"]

    assert rescue["ExecStart"] == ["/usr/bin/env", "damonpolicy-recover"]
    assert project["scripts"]["damonpolicy-recover"] == "damonpolicy.engine.recover:main"


@pytest.fixture
def runnable(tmp_path):
    """Copies that name a program which is there, and no type that an older systemd lacks."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    version = int(
        subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True)
        .stdout.split()[1]
        .split(".")[0]
    )
    if version < 252:
        pytest.skip(f"systemd-analyze {version} cannot look at files alone")
    for unit in UNITS:
        text = re.sub(r"env damonpolicy(-recover)?\b", "env true", unit.read_text("utf-8"))
        if version < 253:
            text = text.replace("Type=notify-reload", "Type=notify")
        (tmp_path / unit.name).write_text(text, "utf-8")
    return lambda *words: subprocess.run(
        [analyze, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_systemd_understands_them(runnable):
    done = runnable("verify", *(f"./{unit.name}" for unit in UNITS))

    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_systemd_finds_them_held_tightly(runnable):
    for unit in UNITS:
        done = runnable(
            "security", "--offline=true", "--no-pager", f"--threshold={MOST}", f"./{unit.name}"
        )
        assert done.returncode == 0, done.stdout[-300:]
