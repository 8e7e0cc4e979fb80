"""Commands print the same to the byte, whether they compile or take what was kept."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tomllib

import pytest

from damonpolicy.policy.compile import cache
from damonpolicy.policy.compile.loading import compile_given
from tests.conftest import ROOT

GOLDEN = sorted((ROOT / "tests/golden").glob("*/case.toml"))
SHIPPED = sorted((ROOT / "policies").glob("*.yaml"))
WARNS = """\
version: 1
name: p
vars: {unused: 1}
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: s, action: stat, filters: [{allow: {memcg: /system.slice/nginx.service}}]}]
"""
ABSENT = """version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: nobody}}]
    schemes: [{name: s, action: stat}]
"""


@pytest.fixture
def kept(cli, tmp_path, monkeypatch):
    """Switch the cache on; return a function that runs a command, and tells if it compiled."""
    monkeypatch.delenv(cache.OFF)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled = []

    def counted(*arguments, **options):
        compiled.append(arguments)
        return compile_given(*arguments, **options)

    monkeypatch.setattr(cache, "compile_given", counted)

    def run(*words):
        compiled.clear()
        return cli(*words), len(compiled)

    return run


@pytest.fixture
def without(cli, monkeypatch):
    def run(*words):
        with monkeypatch.context() as patch:
            patch.setenv(cache.OFF, "1")
            return cli(*words)

    return run


def same(kept, without, *words):
    """Run a command three times; return what it said."""
    plain = without(*words)
    first, _ = kept(*words)
    second, again = kept(*words)

    assert first == plain
    assert second == plain
    return plain, again


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policies(kept, without, path, kernel, form):
    shutil.copy(path, "p.yaml")
    for command in ("validate", "plan"):
        words = ("--kernel", f"emulated:{kernel}", command, "p.yaml", "--format", form)
        plain, again = same(kept, without, *words)
        assert again == (plain.code not in (0, 2)), "errors are not kept, all else is"


@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.parent.name)
def test_golden_policies(kept, without, case):
    for path in (*case.parent.glob("*.yaml"), *SHIPPED):
        shutil.copy(path, path.name)
    known = tomllib.loads(case.read_text())
    kernel = f"emulated:{known['kernel']}"
    for words in [known["command"], *known.get("before", ())]:
        if words[0] == "apply":
            same(kept, without, "--kernel", kernel, "plan", *words[1:], "--format", "json")
    same(kept, without, "--kernel", kernel, "validate", "policy.yaml", "--format", "json")


@pytest.fixture
def warns(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(WARNS)
    return path


def test_warnings_are_shown_with_their_lines(kept, without, warns):
    plain, again = same(kept, without, "--kernel", "emulated:6.16", "plan", "p.yaml")

    assert "p.yaml:3:8: warning[DP0686]: no template uses the variable `unused`" in plain.err
    assert "3 | vars: {unused: 1}" in plain.err
    assert again == 0


@pytest.mark.parametrize("form", ["github", "sarif"])
def test_other_formats(kept, without, warns, form):
    assert same(kept, without, "validate", "p.yaml", "--format", form)[1] == 0


def test_strictness_is_not_kept(kept, without, warns):
    kept("validate", "p.yaml")
    plain, again = same(kept, without, "validate", "--strict", "p.yaml")

    assert (plain.code, again) == (65, 0)


def test_several_kernels(kept, without, warns):
    words = ("validate", "--kernel", "emulated:6.1", "--kernel", "emulated:7.3", "p.yaml")
    plain, again = same(kept, without, *words)

    assert again == 1, "only one of them takes it"
    assert plain.code == 69


def test_an_error_of_the_plan_has_its_place(kept, without, warns, tmp_path):
    """What is bound is looked up each time, and errors of that know their lines."""
    (tmp_path / "m.toml").write_text("[[processes]]\npid = 1\nname = 'init'\n")
    warns.write_text(ABSENT)
    for command in ("plan", "validate"):
        words = ("--kernel", "emulated:7.3", "--machine", "m.toml", command, "p.yaml")
        plain, again = same(kept, without, *words)
        assert (plain.code, again) == (65, 0)
        assert "p.yaml:6:16: error[DP0305]" in plain.err
        assert "6 |     targets: [{process: {name: nobody}}]" in plain.err


def test_a_file_in_a_directory(kept, without, warns, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    warns.rename(folder / "p.yaml")
    words = ("--kernel", "emulated:7.3", "plan", "d")
    assert same(kept, without, *words)[1] == 0
    shutil.copy(SHIPPED[0], folder)
    outcome, compiled = kept(*words)
    assert compiled == 1
    assert outcome == without(*words)
    (folder / "p.yaml").unlink()
    (folder / "p.yaml").symlink_to(os.devnull)
    outcome, compiled = kept(*words)
    assert compiled == 1
    assert outcome == without(*words)


def test_standard_input(kept, cli, monkeypatch):
    said = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WARNS.encode())))
        said.append(kept("validate", "-"))

    assert said[0][0] == said[1][0]
    assert [compiled for _, compiled in said] == [1, 0]


@pytest.mark.usefixtures("guarded")
def test_files_are_checked_as_always(kept, without, warns, give):
    words = ("--kernel", "emulated:6.16", "plan", "p.yaml")
    assert same(kept, without, *words)[0].code == 2
    warns.chmod(0o666)
    assert same(kept, without, *words)[0].err.startswith("error[DP0046]: everyone can change")
    warns.chmod(0o600)
    give(warns, 65533)
    assert same(kept, without, *words)[0].err.startswith("error[DP0046]: ")
    warns.unlink()
    assert same(kept, without, *words)[0].err.startswith("error[DP0001]: cannot read `p.yaml`")


def test_applying_again(kept, warns):
    words = ("--kernel", "emulated:6.16", "apply", "p.yaml")
    first, _ = kept(*words)
    again, compiled = kept(*words)

    assert (first.code, again.code, compiled) == (0, 0, 0)
    assert "Applied and verified as generation 1" in first.out
    assert "Applied" not in again.out, "the policy is the same as in the state"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_settings_that_were_changed_are_looked_at_at_once(kept, path):
    """Compiling looks at settings, so it is repeated where they have just been changed."""
    shutil.copy(path, "p.yaml")
    words = ("--kernel", "emulated:7.3", "apply", "p.yaml", "--unfed")
    (first, compiled), *more = [kept(*words) for _ in range(3)]

    assert (first.code, compiled) == (0, 2)
    assert [(outcome.code, compiled) for outcome, compiled in more] == [(0, 0), (0, 0)]


def test_what_was_kept_is_not_compiled_for_the_sake_of_the_next_call(kept):
    shutil.copy(ROOT / "policies/ksm.yaml", "p.yaml")
    kept("--kernel", "emulated:7.3", "plan", "p.yaml")

    assert [kept("--kernel", "emulated:7.3", "apply", "p.yaml")[1] for _ in range(3)] == [0, 1, 0]


def test_rendering(kept, without):
    shutil.copy(ROOT / "policies/proactive-reclaim.yaml", "p.yaml")

    assert same(kept, without, "--kernel", "emulated:7.3", "render", "p.yaml")[1] == 0


def test_nothing_is_kept_where_it_is_switched_off(without, cli, warns, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    without("--kernel", "emulated:7.3", "plan", "p.yaml")

    assert not (tmp_path / "cache").exists()
