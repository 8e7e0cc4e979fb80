"""`plan` and `--dry-run` show what a change would do, without doing it."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine.state_directory import write_json
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import LiveMachine
from tests.daemon.conftest import PAGES, Desk
from tests.daemon.jobs.test_feed import POLICY as FED
from tests.daemon.jobs.test_tune import PACE, TuningDesk
from tests.engine.site import KSM_RUN, Site, shipped
from tests.world import STAT_OFF

STAT = """version: 1
name: {name}
kdamonds:
  - name: k
    ops: paddr
    targets: [{{numa_node: 0}}]
    {more}
    schemes: [{{name: s, action: stat}}]
modules: {{damon_stat: {{enabled: false}}}}
"""


@pytest.fixture
def two(site):
    """A kdamond and a setting, in two generations."""
    site.done("apply", shipped("monitor"))
    site.done("apply", site.setting("ksm", 1))
    return site


PREVIEWS = {
    "remove": (("remove", "monitor", "--dry-run"), "1 kdamond to stop"),
    "plan --remove": (("plan", "--remove", "monitor"), "1 kdamond to stop"),
    "rollback": (("rollback", "1", "--dry-run"), "1 setting to change"),
    "rollback without a number": (("rollback", "--dry-run"), "1 setting to change"),
    "plan --rollback": (("plan", "--rollback", "1"), "1 setting to change"),
    "stop": (("stop", "--all", "--dry-run"), "1 kdamond to stop"),
}


@pytest.mark.parametrize("which", PREVIEWS)
def test_a_preview_shows_what_is_then_done_and_does_nothing(two, which):
    words, said = PREVIEWS[which]
    before, managed = two.world.look(), two.world.managed

    shown = two.run(*words)
    document = two.json(*words)

    assert shown.code == ExitCode.CHANGES
    assert said in shown.out
    assert document["changed"] is True
    assert two.world.look() == before
    assert two.world.managed == managed
    done = [word for word in words if word != "--dry-run"]
    if done[0] == "plan":
        done = [done[1].removeprefix("--"), done[2]]
    assert two.json(*done)["data"]["operations"] == document["data"]["operations"]


def test_a_preview_of_nothing_is_zero(two):
    two.done("stop", "--all")

    for words in (("stop", "--all", "--dry-run"), ("rollback", "0", "--dry-run")):
        outcome = two.done(*words)
        assert "No changes." in outcome.out


def test_a_generation_that_is_not_there_names_those_that_are(two):
    for words in (
        ("rollback", "99"),
        ("rollback", "99", "--dry-run"),
        ("plan", "--rollback", "99"),
    ):
        outcome = two.run(*words)
        assert outcome.code == ExitCode.USAGE
        assert "there is no generation 99" in outcome.err
        assert "there are 0, 1, 2" in outcome.err
        assert str(two.directory) not in outcome.err


def test_to_remove_what_is_not_there_is_done_already(two):
    outcome = two.done("remove", "monitr")

    assert "warning[DP0403]: no policy `monitr` is applied" in outcome.err
    assert "did you mean `monitor`?" in outcome.err
    assert two.world.managed.generation == 2
    two.done("remove", "monitr", "monitor")
    assert "monitor" not in two.world.managed.policies


def test_to_remove_a_file_names_its_policy(two):
    outcome = two.run("remove", shipped("monitor"))

    assert outcome.code == ExitCode.USAGE
    assert "hint: `damonpolicy remove monitor` ends the policy of that file" in outcome.err


@pytest.mark.parametrize(
    "words", [(), ("--remove", "a", "--rollback", "1"), ("x.yaml", "--remove", "a")]
)
def test_a_plan_is_of_one_thing(site, words):
    outcome = site.run("plan", *words)

    assert outcome.code == ExitCode.USAGE
    assert "either" in outcome.err


def test_a_plan_that_cannot_be_applied_is_not_saved(two):
    outcome = two.run("plan", "--remove", "monitor", "--out", str(two.directory / "p.json"))

    assert outcome.code == ExitCode.USAGE
    assert not (two.directory / "p.json").exists()


def test_a_saved_plan_fits_a_machine_that_came_back_to_the_same_state(site):
    site.done("apply", site.setting("a", 1))
    plan = str(site.directory / "plan.json")
    text = STAT.format(name="p", more="region_count: {min: 10}")
    assert site.run("plan", site.policy("p", text), "--out", plan).code == ExitCode.CHANGES
    site.done("apply", site.setting("b", 60, "/proc/sys/vm/swappiness"))
    site.done("rollback", "1")

    site.done("apply", "--plan", plan)

    assert "p" in site.world.managed.policies


def test_a_saved_plan_does_not_fit_other_policies(site):
    plan = str(site.directory / "plan.json")
    site.run("plan", site.setting("a", 1), "--out", plan)
    site.done("apply", site.setting("b", 60, "/proc/sys/vm/swappiness"))

    assert site.run("apply", "--plan", plan).code == ExitCode.STALE


AGES = STAT.format(name="ages", more="intervals: {auto_tune: {observe: 4%, aggregations: 3, "
                   "min_sample: 5ms, max_sample: 10s}}").replace(
    "action: stat}", "action: stat, retune_age: true, access_pattern: {age: {min: 2m}}}"
)  # fmt: skip


def test_what_only_the_service_can_do_is_planned_as_it_does_it(site):
    file = site.policy("ages", AGES)

    assert site.run("plan", file).code == ExitCode.INVALID
    outcome = site.run("plan", file, "--served")

    assert outcome.code == ExitCode.CHANGES, outcome.err
    assert "1 kdamond to start" in outcome.out


def test_what_a_running_service_follows_is_planned_as_it_does_it(site):
    directory = site.directory / "policies.d"
    directory.mkdir()
    file = directory / "ages.yaml"
    file.write_text(AGES)
    said = {
        "pid": os.getpid(), "start": starts(LiveMachine(), os.getpid()), "paths": [str(directory)],
        "reload": None, "following": "", "feeds": {}, "loops": {}, "observing": "", "schemes": {},
        "unasked": [],
        "drift": {"files": 0, "first": [], "repairs": 0, "cannot_repair": ""},
    }  # fmt: skip
    write_json(site.places.service, said)

    outcome = site.run("plan", str(file))

    assert outcome.code == ExitCode.CHANGES, outcome.err
    assert "note: a service follows these files" in outcome.out
    other = site.policy("other", AGES)
    assert site.run("plan", other).code == ExitCode.INVALID


@pytest.mark.parametrize(
    ("kernel", "text", "code"),
    [
        ("7.3", FED.format(file="/run/score"), "DP0230"),
        ("6.6", FED.format(file="/run/score"), "DP0230"),  # the service tunes this quota
        ("7.3", PACE.replace("FILE", "/run/number"), "DP0239"),
        ("7.3", AGES, "DP0252"),
    ],
    ids=["goal", "goal that the kernel lacks", "tuning", "age"],
)
def test_what_the_service_would_do_is_what_it_then_does(kernel, text, code, request):
    site = Site(kernel)
    request.addfinalizer(site.close)
    if site.machine.exists(STAT_OFF):
        site.world.write(STAT_OFF, "N")
    desk = Desk(site.world, site.directory / "policies.d")
    desk.put("p.yaml", text)
    words = ("plan", str(desk.directory))

    refused = site.run(*words)
    outcome = site.run(*words, "--served")
    planned = site.json(*words, "--served")["data"]["operations"]
    since = len(site.writes())
    assert desk.rest().ok, desk.reloader.outcome

    assert refused.code == ExitCode.INVALID
    assert f"error[{code}]" in refused.err
    assert "hint: `damonpolicy run` does it, `damonpolicy plan --served` shows" in refused.err
    assert outcome.code == ExitCode.CHANGES, outcome.err
    done = [(each.path, each.text) for each in site.machine.log[since:]]
    asked = [each for each in done if each[1] == "update_schemes_stats"]
    assert [(each["path"], each["after"]) for each in planned] + asked == done


def test_where_a_loop_has_moved_to_is_no_change_to_the_service(site, clock):
    desk = TuningDesk(site.world, site.directory)
    desk.apply(PACE)
    desk.window()
    assert desk.read(PAGES) == "125"

    outcome = site.done("plan", str(desk.directory), "--served")

    assert "No changes." in outcome.out


def test_validate_knows_the_machine_that_it_is_given(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(
        STAT.format(name="p", more="").replace("numa_node: 0", "numa_node: 7")
    )
    (tmp_path / "m.toml").write_text("")

    assert cli("validate", "p.yaml", "--kernel", "emulated:7.3").code == 0
    outcome = cli("validate", "p.yaml", "--kernel", "emulated:7.3", "--machine", "m.toml")

    assert outcome.code == ExitCode.INVALID
    assert "p.yaml:6:15: error[DP0310]: there is no memory of node 7" in outcome.err


def test_validate_binds_what_is_looked_up(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(
        STAT.format(name="p", more="")
        .replace("{numa_node: 0}", "{process: {name: nobody-at-all}}")
        .replace("paddr", "vaddr")
    )
    (tmp_path / "m.toml").write_text("")

    outcome = cli("validate", "p.yaml", "--kernel", "emulated:7.3", "--machine", "m.toml")

    assert outcome.code == ExitCode.INVALID
    assert "p.yaml:6:16: error[DP0305]" in outcome.err


@pytest.mark.parametrize("words", [("--kernel", "emulated:7.3"), ()])
def test_validate_does_not_ignore_a_machine(cli, tmp_path, words):
    (tmp_path / "p.yaml").write_text(STAT.format(name="p", more=""))

    outcome = cli("validate", "p.yaml", *words, "--machine", "/nowhere.toml")

    assert outcome.code == ExitCode.USAGE
    assert "machine" in outcome.err


def test_a_setting_of_the_present_state_is_no_change(site):
    file = site.setting("a", 1)
    site.done("apply", file)

    assert site.json("plan", file)["changed"] is False
    assert site.read(KSM_RUN) == "1"
