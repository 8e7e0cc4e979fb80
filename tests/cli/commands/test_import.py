"""`import` as a command: imported parts, their names, and refusals."""

from __future__ import annotations

import pytest
import yaml

from damonpolicy.base.errors import ExitCode
from tests.engine.site import shipped

NO_STAT = "\nmodules: {damon_stat: {enabled: false}}"


def theirs(site, *, on):
    """Someone else's kdamond, with a scheme that matches something."""
    site.world.foreign(on=False)
    site.world.write("0/contexts/0/schemes/0/access_pattern/sz/max", str(1 << 30))
    if on:
        site.world.write("0/state", "on")


def test_a_scheme_that_never_matches_is_told(site):
    site.world.foreign(on=True)  # as the kernel makes it: for sizes of 0
    outcome = site.run("import")

    assert outcome.code == ExitCode.INVALID
    assert "size: {max: 0B}" in outcome.out
    assert "DP0259" in outcome.err


def test_what_reads_like_and_is_told(site):
    """Who wrote the kernel's files, or the options of a program, meant both of two filters."""
    theirs(site, on=False)
    filters = "0/contexts/0/schemes/0/filters"
    site.world.write(f"{filters}/nr_filters", "2")
    for index, kind in enumerate(("anon", "young")):
        for name, value in (("type", kind), ("matching", "Y"), ("allow", "Y")):
            site.world.write(f"{filters}/{index}/{name}", value)
    outcome = site.done("import")

    assert "warning[DP0680]" in outcome.err
    assert "`filters: [{reject: {not: anon}}, {allow: young}]`" in outcome.err


def test_our_names_are_kept(site):
    site.done("apply", shipped("ksm"), shipped("monitor"))
    text = site.done("import").out

    assert [line for line in text.splitlines() if line.startswith("- name:")] == [
        "- name: vms", "- name: program",
    ]  # fmt: skip
    assert "  - name: cold\n" in text
    assert text.startswith("# Imported from the configuration of emulated:7.3, Linux 7.3.4")


def test_some_slots_only(site):
    site.done("apply", shipped("ksm"), shipped("monitor"))

    assert "name: program" not in site.done("import", "0").out
    assert "name: vms" not in site.done("import", "1").out


def test_someone_elses(site):
    theirs(site, on=True)
    outcome = site.done("import", "--name", "theirs")

    assert "name: theirs\nkdamonds:\n- name: kdamond-0\n" in outcome.out
    assert "DAMON_STAT" not in outcome.out


def test_what_would_keep_it_from_starting_is_said_above(site):
    theirs(site, on=False)
    site.machine.write("/sys/module/damon_stat/parameters/enabled", "Y")

    assert (
        "# DAMON_STAT runs here, and lets no kdamond start beside it.\n" in site.done("import").out
    )


def test_it_changes_nothing_and_needs_no_lock(site):
    theirs(site, on=True)
    before, writes = site.world.look(), len(site.machine.log)
    site.done("import")

    assert site.world.look() == before
    assert len(site.machine.log) == writes


def test_what_is_printed_can_be_applied_in_its_place(site):
    """The kernel does not notice: every byte is adopted without a write."""
    theirs(site, on=True)
    path = site.policy("imported", site.done("import").out)
    before = len(site.machine.log)
    outcome = site.done("apply", path)

    assert "adopt" in outcome.out
    assert not [each for each in site.machine.log[before:] if each.text != "update_schemes_stats"]


def test_json_has_the_policy_and_its_differences(site):
    theirs(site, on=False)
    site.world.write("0/contexts/0/schemes/0/target_nid", "1")
    data = site.json("import")["data"]

    assert data["policy"].startswith("# Imported")
    assert [(each["file"], each["is"], each["becomes"]) for each in data["differences"]][-1] == (
        "contexts/0/schemes/0/target_nid", "1", "-1",
    )  # fmt: skip


def test_what_no_policy_may_say_is_printed_and_refused(site):
    theirs(site, on=False)
    site.world.write("0/contexts/0/monitoring_attrs/nr_regions/min", "1")
    outcome = site.run("import")

    assert outcome.code == ExitCode.INVALID
    assert "  region_count: {min: 1, max: 1000}\n" in outcome.out
    assert "imported.yaml:" in outcome.err
    assert "error[DP0202]" in outcome.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("9",), ExitCode.USAGE, "there is no slot 9"),
        (("0", "x.yaml"), ExitCode.USAGE, "`import` takes slots, or one file"),
        (("/nowhere.yaml",), ExitCode.INVALID, "cannot read `/nowhere.yaml`"),
        ((), ExitCode.USAGE, "no kdamond is configured"),
    ],
)
def test_what_cannot_be_imported(site, words, code, said):
    outcome = site.run("import", *words)

    assert outcome.code == code
    assert said in outcome.err


def test_a_file_that_is_none_of_damos(site):
    outcome = site.run("import", site.policy("x", "version: 1\n"))

    assert outcome.code == ExitCode.INVALID
    assert "is not a damo configuration" in outcome.err
    assert "hint: " in outcome.err


def test_a_name_that_is_none(site):
    theirs(site, on=False)
    outcome = site.run("import", "--name", "a b")

    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert "`--name 'a b'` is not a valid policy name" in outcome.err


@pytest.mark.parametrize("name", ["a\nmodules:", "a\x1b[31m", "caf\udce9", "a\x7f"])
def test_a_process_cannot_say_anything_by_its_name(site, name):
    """Any user can choose a process' name: it stays inside a comment of one line."""
    pid = site.machine.start_process(name, areas=[{"size": "16MiB"}])
    text = f"version: 1\nname: p\nkdamonds: [{{name: k, ops: vaddr, targets: [{{process: {{pid: {pid}}}}}]}}]{NO_STAT}"
    site.done("apply", site.policy("p", text))
    found = site.done("import").out

    assert f"# pid {pid} is " in found
    assert found.count("\nmodules:") == 1, "our own"
    assert "\x1b" not in found


def test_one_name_for_two(site):
    for name in ("p", "q"):
        text = f"version: 1\nname: {name}\nkdamonds: [{{name: k, ops: paddr, targets: [{{system_ram: true}}]}}]{NO_STAT}"
        site.done("apply", site.policy(name, text))

    assert [line for line in site.done("import", "0", "1", "1").out.splitlines() if "name: k" in line] == [
        "- name: k", "- name: k-of-slot-1",
    ]  # fmt: skip


@pytest.mark.parametrize("slots", [("1",), ("0", "1")])
def test_a_slot_that_was_asked_for_and_is_empty_is_told(site, slots):
    theirs(site, on=True)
    outcome = site.run("import", *slots)

    assert outcome.code == ExitCode.USAGE
    assert "slot 1" in outcome.err


@pytest.mark.parametrize("word", ["9" * 5000, "٣"])
def test_what_is_no_slot_is_a_file(site, word):
    assert site.run("import", word).code == ExitCode.INVALID


@pytest.mark.parametrize("path", ["/a{{ x }}", "/caf\udce9"])
def test_a_cgroup_that_no_policy_can_name_is_told(site, path):
    site.machine.make_cgroup(path)
    theirs(site, on=True)
    base = "/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/ops_filters"
    site.machine.write(f"{base}/nr_filters", "1")
    site.machine.write(f"{base}/0/type", "memcg")
    site.machine.write(f"{base}/0/memcg_path", path)
    outcome = site.run("import")

    assert outcome.code == ExitCode.INVALID
    assert "error[DP0620]: no policy can say '/" in outcome.err


def test_what_runs_would_start_after_a_boot_too(site):
    """DAMON_STAT runs again then; what is imported has to keep it out of the way."""
    theirs(site, on=True)
    assert "modules:\n  damon_stat: {enabled: false}\n" in site.done("import").out
    path = site.policy("imported", site.done("import").out)
    site.machine.write("/sys/kernel/mm/damon/admin/kdamonds/0/state", "off")
    site.machine.write("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "0")
    site.machine.write("/sys/module/damon_stat/parameters/enabled", "Y")

    site.done("apply", path)


def test_a_module_that_runs_comes_back_with_its_parameters(site):
    text = (
        "version: 1\nname: m\nmodules: {damon_stat: {enabled: false}, damon_reclaim: {enabled: true,"
        " min_age: 5m, quota_sz: unlimited, quota_ms: 20ms, wmarks_high: 60%}}"
    )
    site.done("apply", site.policy("m", text))
    printed = site.done("import").out
    found = yaml.safe_load(printed)["modules"]["damon_reclaim"]

    assert found["enabled"] is True
    assert [found[name] for name in ("min_age", "quota_sz", "quota_ms", "wmarks_high")] == [
        "5m", "unlimited", "20ms", "60%",
    ]  # fmt: skip
    site.done("remove", "m")
    site.done("apply", site.policy("imported", f"{printed}\n"))
    assert yaml.safe_load(site.done("import").out)["modules"]["damon_reclaim"] == found


def test_what_else_there_is_and_is_not_part_of_it(site):
    site.done(
        "apply", site.policy("m", "version: 1\nname: m\nmodules: {damon_stat: {enabled: true}}")
    )
    outcome = site.run("import")
    assert outcome.code == ExitCode.USAGE
    assert "damon_stat runs, which a policy has under `modules:`" in outcome.err
    site.done("remove", "m")
    site.done("apply", shipped("ksm"))

    assert "# Settings of our policies are not part of it" in site.done("import").out
