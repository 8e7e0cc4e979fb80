"""What was compiled is taken again only where compiling would give the same."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from fractions import Fraction

import pytest

from damonpolicy.base.diagnostics import Span
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system import memory as memory_of
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.policy.compile import cache
from damonpolicy.policy.compile.loading import Given, compile_given
from damonpolicy.policy.source.files import SourceFile
from tests.world import ROOT

TEXT = """\
version: 1
name: p
vars: {node: 0, age: 2m}
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: "{{ node }}"}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {access_rate: {max: 0%}, age: {min: "{{ age }}"}}
        filters: [{allow: {memcg: /system.slice/**}}]
        quota: {size: 1GiB, every: 1s, goals: [{metric: some_mem_psi_us, target: 1ms}]}
settings: {/sys/kernel/mm/ksm/run: 1}
on_drift: repair
"""
FEW = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: postgres}}, {process: {name: nginx}}]
    schemes: [{name: s, action: stat}]
"""
OTHER = "version: 1\nname: other\nsettings: {/sys/kernel/mm/ksm/run: 1}\n"
ZONES = """\
Node 0, zone      DMA
  pages free     2816
        spanned  4095
    cpu: 0
  start_pfn:           1
"""
FILES = (SourceFile("p.yaml", TEXT),)


class Kept:
    """A cache of its own, a machine, and how often policies were compiled."""

    def __init__(self, directory):
        self.directory = directory
        self.machine = EmulatedMachine.create("7.3")
        self.given = Given(FILES)
        self.options = {}
        self.compiled = 0

    @property
    def capabilities(self):
        return detect(self.machine, snapshot(self.machine))

    def counted(self, *arguments, **options):
        self.compiled += 1
        return compile_given(*arguments, **options)

    def recall(self):
        """Return what is recalled; it is what compiling gives."""
        arguments = (self.given, self.machine, self.capabilities)
        found = cache.recalled(*arguments, **self.options)
        assert plain(found) == plain(compile_given(*arguments, **self.options))
        return found

    @property
    def entries(self):
        return sorted(self.directory.glob("*.json"))

    @property
    def entry(self):
        (found,) = self.entries
        return found


def plain(compiled):
    spans = {
        key: each if isinstance(each, Span) else each.spot for key, each in compiled.spans.items()
    }
    return replace(compiled, spans=spans)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.OFF)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Kept(tmp_path / "cache/damonpolicy")
    monkeypatch.setattr(cache, "compile_given", made.counted)
    return made


def sealed(path, text):
    """Write an entry that nobody has damaged."""
    path.write_bytes(cache._digest((path.stem, text)).encode() + b"\n" + text)


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
    monkeypatch.setattr(EmulatedMachine, "name", "live")  # that of others is one of their files
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
    (package / "rules/twice.py").unlink()
    after = {each[0] for each in before ^ set(cache._files(str(package)))}

    assert len(before) == len([*package.rglob("*.*")]) - len([*package.rglob("__pycache__/*")])
    assert after == {
        f"{package}/{each}" for each in ("model/scalars.py", "new.py", "rules/twice.py")
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


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edited(change):
    """Change an entry, and seal it again."""

    def apply(path):
        data = json.loads(path.read_bytes().partition(b"\n")[2])
        change(data)
        sealed(path, json.dumps(data).encode())

    return apply


def linked(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def replaced(make):
    def apply(path):
        path.unlink()
        make(path)

    return apply


def renamed(path):
    """Take the entry of another policy, whole as it is."""
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"k"', b'"x"'))


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit": flipped,
    "no digest": lambda path: path.write_bytes(b"\xff\n{}"),
    "no JSON": lambda path: sealed(path, b"{"),
    "a list": lambda path: sealed(path, b"[]"),
    "a pickle": lambda path: sealed(path, b"\x80\x04N."),
    "deep": lambda path: sealed(path, b"[" * 100_000),
    "huge": lambda path: path.write_bytes(path.read_bytes() + b" " * (3 << 20)),
    "a number": edited(lambda data: data.update(asked=1)),
    "a key more": edited(lambda data: data.update(more=1)),
    "a key less": edited(lambda data: data.pop("found")),
    "a NUL": edited(lambda data: data["files"].update(p="\0")),
    "an unknown file": edited(lambda data: data["files"].update(p="q.yaml")),
    "no file": edited(lambda data: data["files"].clear()),
    "another name": edited(lambda data: data["policies"]["p"].update(name="q")),
    "no operation set": edited(lambda data: data["policies"]["p"]["kdamonds"][0].update(files={})),
    "a write": edited(lambda data: data["asked"].insert(0, ["write", "/sys/kernel/mm/ksm/run"])),
    "another question": edited(
        lambda data: data["asked"].insert(0, ["scan", "/sys/kernel/mm/ksm"])
    ),
    "another entry": renamed,
    "a directory": replaced(lambda path: path.mkdir()),
    "a pipe": replaced(os.mkfifo),
    "a link": linked,
    "others' to write": lambda path: path.chmod(0o606),
    "a group's to write": lambda path: path.chmod(0o660),
    "others' to add to": lambda path: path.parent.chmod(0o757),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_entry_counts_as_none(kept, what):
    kept.recall()
    BROKEN[what](kept.entry)
    log = len(kept.machine.log)
    kept.recall()

    assert kept.compiled == 2
    assert len(kept.machine.log) == log
    kept.recall()
    mended = what not in ("a directory", "a pipe", "others' to add to")
    assert kept.compiled == (2 if mended else 3)


@pytest.mark.parametrize("what", ["entry", "directory", "home"])
def test_what_somebody_else_owns_is_not_read(kept, give, what):
    kept.recall()
    give({"entry": kept.entry, "directory": kept.directory, "home": kept.directory.parent}[what],
         65533)  # fmt: skip
    kept.recall()

    assert kept.compiled == 2


def test_a_link_to_a_directory_is_followed_where_only_we_could_make_it(kept, tmp_path):
    kept.recall()
    kept.directory.rename(tmp_path / "elsewhere")
    kept.directory.symlink_to(tmp_path / "elsewhere")
    kept.recall()

    assert kept.compiled == 1
    (tmp_path / "elsewhere").chmod(0o777)
    kept.recall()
    assert kept.compiled == 2


def test_root_makes_nothing_in_another_users_home(kept, give, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    give(home, 65533)
    kept.directory = home / "cache/damonpolicy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    kept.recall()

    assert [*home.iterdir()] == []


def test_root_takes_no_group_for_its_own(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not cache._keepers().group
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cache._keepers().group, "many systems give every user a group of its own"


def unwritable(kept, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache, "whole_file", refuse)


def no_directory(kept, monkeypatch):
    kept.directory.parent.write_text("a file")


def off(kept, monkeypatch):
    monkeypatch.setenv(cache.OFF, "1")


def relative(kept, monkeypatch):
    monkeypatch.chdir(kept.directory.parents[1])
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")


def packed(kept, monkeypatch):
    """The package lies in an archive, whose files cannot be looked at."""
    monkeypatch.setattr("damonpolicy.__file__", "/nowhere/archive.zip/damonpolicy/__init__.py")


def too_large(kept, monkeypatch):
    monkeypatch.setattr(cache, "_SIZE", 1000)


def too_many(kept, monkeypatch):
    monkeypatch.setattr(cache, "_READS", 3)


@pytest.mark.parametrize(
    "hinder", [unwritable, no_directory, off, relative, packed, too_large, too_many]
)
def test_without_a_place_everything_is_compiled(kept, monkeypatch, hinder):
    hinder(kept, monkeypatch)
    kept.recall()
    kept.recall()

    assert kept.compiled == 2
    assert kept.entries == []


def test_a_home_is_found_without_the_variable(kept, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept.recall()

    assert len([*(tmp_path / "home/.cache/damonpolicy").iterdir()]) == 1


def test_entries_are_private(kept, umask):
    kept.recall()

    assert kept.entry.stat().st_mode & 0o777 == 0o600
    assert kept.directory.stat().st_mode & 0o777 == 0o700
    assert kept.directory.parent.stat().st_mode & 0o777 == 0o700


def test_the_oldest_entries_go(kept):
    kept.recall()
    mine = kept.entry
    left = kept.directory / f".{'a' * 64}.json.4711.part"
    left.touch()
    for path in (left, mine):
        os.utime(path, ns=(1, 1))
    others = kept.directory / "notes.json"
    others.write_text("somebody else's")
    for number in range(cache._ENTRIES):
        kept.given = replace(kept.given, settings=(f"age={number + 1}m",))
        cache.recalled(kept.given, kept.machine, kept.capabilities)

    assert len(kept.entries) == cache._ENTRIES + 1
    assert others.exists()
    assert not mine.exists()
    assert not left.exists()


def test_without_a_machine_and_without_a_kernel(kept):
    for capabilities in (None, kept.capabilities):
        found = [cache.recalled(kept.given, None, capabilities) for _ in range(2)]
        assert plain(found[0]) == found[1]
        assert found[1].names == ("p",)

    assert kept.compiled == 2
