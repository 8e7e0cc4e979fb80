"""Features of unknown presence are tried first, and undone if the kernel refuses."""

from __future__ import annotations

import errno
import os

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from tests.kernel.damon.test_capabilities import Renamed
from tests.world import ROOT, Blind, snapshot_all

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {kind: write, optional: true}
    schemes:
      - name: s
        action: stat
        quota: {size: 1MiB, every: 1s}
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""


@pytest.fixture
def blind(monkeypatch, tmp_path):
    def make(version, text=POLICY, kind=Blind):
        machine = kind.create(version)
        monkeypatch.setattr("damonpolicy.engine.machines.open_machine", lambda *_: machine)
        monkeypatch.setenv("DAMONPOLICY_KERNEL", machine.name)
        (tmp_path / "p.yaml").write_text(text)
        return machine

    return make


def written(machine):
    return [each.path.removeprefix(f"{KDAMONDS}/") for each in machine.log]


@pytest.mark.parametrize("version", ["6.12", "6.18", "7.3"])
def test_what_the_kernel_refuses_is_left_out_where_it_may(version, blind, cli):
    machine = blind(version)
    outcome = cli("apply", "p.yaml")

    assert outcome.code == 0, outcome.err
    assert "note[DP0601]: counting only write accesses is left out" in outcome.err
    assert any("/sample/" in path for path in written(machine)), "it was tried"
    assert read_value(machine, f"{KDAMONDS}/0/state") == "on"
    assert machine.poisoned == ""


@pytest.mark.parametrize("version", ["6.12", "6.18", "7.3"])
def test_what_may_not_be_left_out_is_refused_and_undone(version, blind, cli):
    machine = blind(version, POLICY.replace(", optional: true", ""))
    before = snapshot_all(machine)
    outcome = cli("apply", "p.yaml")

    assert outcome.code == 69, outcome.err
    assert "this kernel lacks choosing which accesses count" in outcome.err
    assert before == snapshot_all(machine)


def test_what_kernels_do_anyway_is_not_tried(blind, cli):
    machine = blind("6.12", POLICY.replace("    accesses: {kind: write, optional: true}\n", ""))

    assert cli("apply", "p.yaml").code == 0
    new = {"dests", "fail_charge_num", "goal_tuner", "pause", "probes", "addr_unit", "refresh_ms"}
    assert not [path for path in written(machine) if new & set(path.split("/"))]


def test_a_word_that_is_unknown_is_tried(blind, cli):
    text = POLICY.replace("accesses: {kind: write, optional: true}", "paused: true")

    assert cli("apply", "p.yaml").code != 0
    refused = blind("6.12", text)
    assert cli("apply", "p.yaml").code == 69
    assert refused.poisoned == ""
    taken = blind("7.3", text)
    assert cli("apply", "p.yaml").code == 0
    assert read_value(taken, f"{KDAMONDS}/0/contexts/0/pause") == "Y"


@pytest.mark.parametrize("kind", [Renamed, Blind])
def test_words_that_go_by_other_names_are_tried_and_taken(kind, blind, cli):
    machine = blind("damon-next", kind=kind)
    shown = cli("features").out
    outcome = cli("apply", "p.yaml")

    assert "?    sample.write" in shown
    assert outcome.code == 0, outcome.err
    assert "accesses: writes" in outcome.out
    sample = machine.running(0)["monitoring_attrs"]["sample"]
    assert (sample["primitives"]["page_fault"], sample["filters"]["nr_filters"]) == ("Y", "2")
    assert read_value(machine, "/proc/sys/kernel/numa_balancing") == "0"
    assert machine.poisoned == ""


def test_the_word_is_named_that_was_refused_and_not_the_file_that_took_others(blind, cli):
    probes = """probes:
      - {name: a, filters: [{allow: anon}]}
      - {name: b, filters: [{allow: pgidle_unset}], preps: [], OPTIONAL}"""
    text = POLICY.replace("accesses: {kind: write, optional: true}", probes)
    blind("7.3", text.replace(", OPTIONAL", ""))
    refused = cli("apply", "p.yaml")
    machine = blind("7.3", text.replace("OPTIONAL", "optional: true"))
    taken = cli("apply", "p.yaml")

    assert refused.code == 69
    assert "this kernel lacks probes on touched pages" in refused.err
    assert taken.code == 0, taken.err
    assert "the probe `b` is left out" in taken.err
    assert read_value(machine, f"{KDAMONDS}/0/contexts/0/monitoring_attrs/probes/nr_probes") == "1"


def test_a_commit_that_is_refused_is_no_lack_of_commits(blind, cli, tmp_path):
    text = POLICY.replace("    accesses: {kind: write, optional: true}\n", "")
    machine = blind("7.3", text)
    assert cli("apply", "p.yaml").code == 0
    pid = read_value(machine, f"{KDAMONDS}/0/pid")
    (tmp_path / "p.yaml").write_text(text.replace("1MiB", "2MiB"))
    commits = []

    def hook(_, path, word):
        if word == "commit":
            commits.append(path)
            if len(commits) == 1:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)

    machine.before_write = hook
    outcome = cli("apply", "p.yaml")

    assert outcome.code == 80, outcome.err
    assert "everything is as it was" in outcome.err
    assert read_value(machine, f"{KDAMONDS}/0/pid") == pid, "it was not restarted instead"


@pytest.mark.parametrize(
    ("accesses", "shown"),
    [
        ("{kind: write}", "accesses: writes"),
        ("{kind: read}", "accesses: reads"),
        ("{cpus: 0}", "accesses: all of CPU 0"),
        ("{cpus: 0, threads: [811], kind: write}", "accesses: writes of CPU 0 and thread 811"),
        ("{threads: [811, 815]}", "accesses: all of threads 811, 815"),
    ],
)
@pytest.mark.parametrize("version", ["damon-next", "7.3"])
def test_the_plan_shows_what_is_wanted_where_nothing_is_known(version, accesses, shown, blind, cli):
    blind(version, POLICY.replace("{kind: write, optional: true}", accesses))
    outcome = cli("plan", "p.yaml")

    assert f"+ {shown} " in outcome.out
    assert "warning[DP0604]" in outcome.err, "at the first apply, too"


def test_the_plan_shows_whole_filters_where_nothing_is_known(blind, cli):
    filters = """filters: [{reject: {not: anon}}, {allow: {memcg: /machine.slice}}]"""
    blind("7.3", POLICY.replace("quota: {size: 1MiB, every: 1s}", filters))
    outcome = cli("plan", "p.yaml")

    assert "+ filters: reject what is not anon; allow memcg /machine.slice and 2" in outcome.out


@pytest.mark.parametrize("name", ["ksm", "proactive-reclaim", "memory-tiering", "monitor"])
def test_the_plan_is_the_same_whether_the_kernel_is_known_or_not(
    name, blind, cli, monkeypatch, tmp_path
):
    blind("7.3")
    unknown = cli("plan", ROOT / f"policies/{name}.yaml")
    monkeypatch.undo()
    monkeypatch.setenv("NO_COLOR", "1")
    known = cli(
        "plan", ROOT / f"policies/{name}.yaml", "--kernel", "emulated:7.3",
        "--state-dir", tmp_path / "known",
    )  # fmt: skip

    assert (unknown.code, unknown.out) == (known.code, known.out)


def test_what_a_kernel_has_not_is_neither_set_nor_put_back(blind, cli, tmp_path):
    """NUMA balancing has to be off where accesses are told apart, and may not be there at all."""
    path = "/proc/sys/kernel/numa_balancing"
    machine = blind("damon-next", kind=WithoutBalancing)
    before = snapshot_all(machine)

    for text in (POLICY, POLICY.replace("settings: {", f"settings: {{{path}: 0, ")):
        (tmp_path / "p.yaml").write_text(text)
        outcome = cli("apply", "p.yaml")
        assert outcome.code == 0, outcome.err
        assert ("note[DP0645]" in outcome.err) is (path in text)
        assert path not in outcome.out
        assert cli("diff").code == 0
    assert cli("remove", "p").code == 0
    assert before == snapshot_all(machine)


class WithoutBalancing(EmulatedMachine):
    """Built without NUMA balancing."""

    @classmethod
    def create(cls, version):
        return EmulatedMachine.create(
            version, spec={"without": ["/proc/sys/kernel/numa_balancing"]}
        )
