"""The checks of `doctor`."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine.state_directory import find
from damonpolicy.engine.store import Store
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.status.doctor import examine
from tests.conftest import run_cli
from tests.engine.site import shipped
from tests.guest.copied import copied


def checks(site):
    return {(c.verdict, c.what): c.hint for c in examine(site.machine, Store(site.places))}


def test_nothing_is_wrong(site):
    site.done("apply", shipped("ksm"))
    outcome = site.done("doctor")
    first, *rest = outcome.out.splitlines()

    assert first.startswith("emulated kernel 7.3")
    release = site.read("/proc/sys/kernel/osrelease")
    assert rest == [f"ok: DAMON is there (Linux {release}, 8 slots)"]
    assert site.json("doctor")["data"]["checks"] == [
        {"verdict": "ok", "what": rest[0].removeprefix("ok: "), "hint": None}
    ]


def test_a_module_is_in_the_way(site):
    outcome = site.done("doctor")

    assert "note: DAMON_STAT runs, and no other kdamond can start beside it" in outcome.out
    assert "  hint: let a policy stop it: `modules: {damon_stat: {enabled: false}}`" in outcome.out


@pytest.mark.parametrize(
    ("on", "said"),
    [(True, "slot 0 runs a kdamond of someone else (pid "), (False, "slot 0 is configured by")],
)
def test_someone_elses_kdamond(site, on, said):
    site.world.foreign(on=on)
    assert any(verdict == "note" and said in what for verdict, what in checks(site))
    assert site.run("doctor").code == 0


def test_someone_elses_scheme_that_never_matches(site):
    site.world.foreign(on=True)  # as the kernel makes it: for sizes of 0
    what = "slot 0, of someone else: no region is smaller than 4KiB, so the scheme never matches"
    assert checks(site)["note", what] == "`damonpolicy import 0` shows where"

    site.world.write("0/contexts/0/schemes/0/access_pattern/sz/max", str(1 << 30))
    assert ("note", what) not in checks(site)


def test_no_slot_is_free(site):
    site.world.foreign(on=True, slots=1)

    assert site.run("doctor").code == ExitCode.FAILED
    assert "problem: no slot is free" in site.run("doctor").out


def test_a_kdamond_has_ended(site):
    site.done("apply", shipped("monitor"))
    for pid in (811, 815):
        site.machine.exit_process(pid)
    outcome = site.run("doctor", "--format", "json")

    assert outcome.code == outcome.json["exit_code"] == ExitCode.FAILED
    assert outcome.json["ok"] is False
    problems = [c for c in outcome.json["data"]["checks"] if c["verdict"] == "problem"]
    assert problems == [
        {
            "verdict": "problem",
            "what": "the kdamond `monitor/program` has ended (slot 0)",
            "hint": "it ends when its last process ends; `apply` starts it again",
        }
    ]


BARE = {f"{KDAMONDS}/nr_kdamonds": "0\n", "/proc/sys/kernel/osrelease": "6.1.0\n"}


def test_a_bare_machine(tmp_path):
    machine = copied(tmp_path, BARE)
    found = {c.what: c.verdict for c in examine(machine, Store(find(machine, tmp_path / "s")))}

    assert found.pop("DAMON is there (Linux 6.1.0, 0 slots)") == "ok"
    assert set(found.values()) == {"note"}
    said = " | ".join(found)
    for expected in (
        "a copied tree",
        "features are unknown, because the kernel has no BTF",
        "no System RAM",
        "does not measure memory pressure",
        "no memory controller",
    ):
        assert expected in said


def test_hidden_addresses_are_a_problem(tmp_path):
    machine = copied(tmp_path, {**BARE, "/proc/iomem": "00000000-00000000 : System RAM\n"})
    found = {c.what: c.verdict for c in examine(machine, Store(find(machine, tmp_path / "s")))}

    assert found["/proc/iomem shows no addresses"] == "problem"


def test_a_copied_machine_without_damon(tmp_path):
    (tmp_path / "sys").mkdir()
    outcome = run_cli("--root", tmp_path, "doctor")

    assert outcome.code == ExitCode.FAILED
    assert "problem: this kernel has no DAMON with a sysfs interface" in outcome.out
    assert "hint: it needs CONFIG_DAMON_SYSFS" in outcome.out


def test_a_directory_that_vanishes_while_it_is_read(site, monkeypatch):
    machine = type(site.machine)
    scan = machine.scan

    def vanish(self, path):
        if path.endswith("/contexts"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return scan(self, path)

    site.world.foreign(on=False)
    monkeypatch.setattr(machine, "scan", vanish)
    outcome = site.run("status")

    assert outcome.code == ExitCode.FOREIGN
    assert "vanished while it was read" in outcome.err


def test_features_as_a_table_and_as_data(site):
    outcome = site.done("features")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("emulated kernel 7.3")
    assert len(lines) == len(FEATURES) + 1
    assert [line.split()[1] for line in lines[1:]] == [feature.name for feature in FEATURES]
    shown = {line.split()[1]: line.split()[0] for line in lines[1:]}
    assert (shown["filter.allow"], shown["sample"]) == ("yes", "no")

    data = site.json("features", "sample", "filter.allow")["data"]["features"]
    assert list(data) == ["sample", "filter.allow"]
    assert data["filter.allow"]["known"] == "yes"


def test_what_only_trying_would_tell_is_a_question_mark(site, monkeypatch):
    def none(self, path):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(type(site.machine), "read_bytes", none)

    assert site.done("features", "filters").out.splitlines()[1].startswith("?    filters ")
    assert "features are unknown" in site.done("doctor").out


def test_a_feature_that_there_is_not(site):
    outcome = site.run("features", "filter.alow")

    assert outcome.code == ExitCode.USAGE
    assert "`filter.alow` is not a feature" in outcome.err
    assert "did you mean `filter.allow`?" in outcome.err
