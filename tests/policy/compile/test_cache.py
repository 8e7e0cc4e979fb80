"""What was compiled is taken again only where compiling would give the same."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from fractions import Fraction

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system import memory as memory_of
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.policy.compile import cache
from damonpolicy.policy.compile.loading import Given, compile_given
from damonpolicy.policy.source.files import SourceFile
from tests.policy.compile.kept import FEW, FILES, OTHER, TEXT, ZONES, Kept, plain
from tests.world import ROOT


def test_nothing_is_compiled_again(kept):
    first = kept.recall()
    second = kept.recall()

    assert kept.compiled == 1
    assert [each.code for each in second.found] == ["DP0603", "DP0606"]
    assert second == plain(first)
    assert second.policies["p"].source == TEXT


def rewrite(machine, where, pattern, text):
    """Let a file of the machine's own say something else."""
    read = machine.read

    def changed(path):
        was = read(path)
        now = re.sub(pattern, text, was, flags=re.MULTILINE) if path == where else was
        assert path != where or now != was
        return now

    machine.read = changed


def memory(machine, name, size):
    rewrite(machine, "/proc/meminfo", f"^{name}:.*", f"{name}: {size} kB")


def test_what_always_changes_and_does_not_matter_is_not_looked_at(kept):
    kept.recall()
    memory(kept.machine, "MemFree", 4711)
    memory(kept.machine, "MemAvailable", 4711)
    rewrite(kept.machine, "/proc/pressure/memory", "total=.*", "total=4711")
    kept.machine.exit_process(530)
    kept.machine.sleep(100)
    kept.recall()

    assert kept.compiled == 1


def test_pressure_that_is_no_longer_measured_is_seen(kept):
    kept.recall()
    rewrite(kept.machine, "/proc/pressure/memory", "some", "many")

    assert "DP0308" in [each.code for each in kept.recall().found]


def test_zones_are_read_from_what_stays_in_their_file(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/zoneinfo").write_text(ZONES)
    machine = LiveMachine(str(tmp_path))
    asked = cache._Asked(machine)

    assert memory_of._zones(asked, 0) == memory_of._zones(machine, 0) == [(4096, 16777216)]
    assert asked.read("/proc/zoneinfo") == ZONES.replace("  pages free     2816\n", "").replace(
        "    cpu: 0\n", ""
    )


def texts(*files):
    return lambda kept, _: setattr(kept, "given", replace(kept.given, files=files))


def given(**changes):
    return lambda kept, _: setattr(kept, "given", replace(kept.given, **changes))


def options(**changes):
    return lambda kept, _: kept.options.update(changes)


def machine(name, *arguments):
    return lambda kept, _: getattr(kept.machine, name)(*arguments)


def kernel(name):
    return lambda kept, _: setattr(kept, "machine", EmulatedMachine.create(name))


def lacking(kept, monkeypatch):
    """The kernel has refused something."""
    less = kept.capabilities.without("scheme.filter_passed")
    monkeypatch.setattr(Kept, "capabilities", less)


def patched(what, value):
    return lambda _, monkeypatch: monkeypatch.setattr(what, value)


CHANGES = {
    "a text": texts(SourceFile("p.yaml", TEXT.replace("target: 1ms", "target: 2ms"))),
    "a comment": texts(SourceFile("p.yaml", TEXT + "# more\n")),
    "a file's name": texts(SourceFile("q.yaml", TEXT)),
    "a file more": texts(*FILES, SourceFile("r.yaml", OTHER)),
    "an option": given(settings=("age=3m",)),
    "a file of variables": given(variables=(SourceFile("v.yaml", "age: 3m\n"),)),
    "a scheme that looks": given(monitor=True),
    "an owner": options(owner="service:p.yaml"),
    "a service": options(served=True),
    "goals without food": options(unfed=True),
    "a cgroup": machine("make_cgroup", "/system.slice/new.service"),
    "a cgroup less": machine("remove_cgroup", "/system.slice/nginx.service"),
    "a setting": machine("write", "/sys/kernel/mm/ksm/run", "2"),
    "the memory": lambda kept, _: memory(kept.machine, "MemTotal", 4711),
    "no swap": lambda kept, _: memory(kept.machine, "SwapTotal", 0),
    "another kernel": kernel("6.18"),
    "a feature": lacking,
    "the version": patched("damonpolicy.policy.compile.cache.__version__", "9.9.9"),
    "a library": patched("damonpolicy.policy.compile.cache._library", lambda name: (name, 1, 1)),
    "Python": patched("sys.version", "4.0"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changes_is_seen(kept, monkeypatch, what):
    kept.recall()
    if what == "a cgroup less":
        kept.machine.exit_process(530)
    CHANGES[what](kept, monkeypatch)
    kept.recall()
    assert kept.compiled == 2
    kept.recall()
    assert kept.compiled == 2, "the new result is kept as well"


def test_another_list_of_settings_is_seen(kept, monkeypatch):
    monkeypatch.setattr(EmulatedMachine, "here", True)  # that of others is one of their files
    kept.recall()
    monkeypatch.setattr("damonpolicy.base.etc.named", lambda path: ("/sys/more/",))
    kept.recall()

    assert kept.compiled == 2


def test_every_file_of_the_package_counts(tmp_path):
    package = tmp_path / "package"
    shutil.copytree(ROOT / "damonpolicy/policy", package)
    before = set(cache._files(str(package)))
    (package / "model/scalars.py").open("a").close()
    os.utime(package / "model/scalars.py", ns=(1, 1))
    (package / "new.py").touch()
    (package / "rules/overlap.py").unlink()
    after = {each[0] for each in before ^ set(cache._files(str(package)))}

    assert len(before) == len([*package.rglob("*.*")]) - len([*package.rglob("__pycache__/*")])
    assert after == {
        f"{package}/{each}" for each in ("model/scalars.py", "new.py", "rules/overlap.py")
    }


@pytest.mark.parametrize("what", ["version: 2\n", TEXT + "wrong: 1\n", TEXT.replace("1ms", "1")])
def test_errors_are_not_kept(kept, what):
    kept.given = Given((SourceFile("p.yaml", what),))
    kept.recall()

    assert kept.recall().found
    assert kept.compiled == 2
    assert kept.entries == []


def test_files_that_could_not_be_read_are_no_matter_of_the_cache(kept):
    wrong = compile_given(Given((SourceFile("p.yaml", "version: 2\n"),)), None, None).found[0]
    kept.given = Given(FILES, found=(wrong,))

    assert kept.recall().found[0] == wrong
    assert kept.entries == []


def test_processes_come_and_go_unseen_so_what_they_decide_is_compiled_each_time(kept):
    kept.given = Given((SourceFile("p.yaml", FEW),))
    kept.recall()
    kept.recall()

    assert kept.compiled == 2
    assert kept.entries == []


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, Fraction(1, 3), "\0"])
def test_what_json_cannot_hold_is_not_kept(kept, monkeypatch, value):
    def odd(*arguments, **options):
        made = compile_given(*arguments, **options)
        policy = replace(made.policies["p"], settings={"/a": value})
        return replace(made, policies={"p": policy})

    monkeypatch.setattr(cache, "compile_given", odd)
    cache.recalled(kept.given, kept.machine, kept.capabilities)

    assert kept.entries == []
