"""Small details of output: quiet commands, a machine's numbers, counts."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base.errors import ExitCode, as_root
from damonpolicy.kernel.system import memory, numa
from damonpolicy.observe.status.doctor import _slots_of
from tests.engine.site import shipped

VARS = """version: 1
name: p
vars: {{share: "{{{{ memory // 64 }}}}B"{more}}}
kdamonds:
  - name: "n-{{{{ {each} }}}}"
    for_each: {{{each}: [a]}}
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: pageout
        quota: {{size: "{{{{ share }}}}", time: "{{{{ cpus * nodes }}}}ms", every: 1s}}
modules: {{damon_stat: {{enabled: false}}}}
"""


def test_templates_know_the_machine(site):
    site.done("apply", site.policy("p", VARS.format(more="", each="x")))

    (record,) = site.world.managed.slots.values()
    machine = site.machine
    quotas = "contexts/0/schemes/0/quotas"
    assert record.files[f"{quotas}/bytes"] == str(memory.total(machine) // 64)
    product = len(numa.nodes(machine)) * len(numa.online_cpus(machine))
    assert record.files[f"{quotas}/ms"] == str(product)


def test_without_a_machine_templates_are_checked_all_the_same(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(VARS.format(more="", each="x"))

    assert cli("validate", "p.yaml").code == 0


def test_names_that_a_machine_gives_are_free_for_others(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(
        VARS.format(more="", each="nodes").replace("cpus * nodes", "cpus")
    )
    (tmp_path / "q.yaml").write_text(VARS.format(more=", nodes: 2", each="nodes"))

    assert cli("validate", "p.yaml").code == 0
    outcome = cli("validate", "q.yaml")
    assert outcome.code == ExitCode.INVALID
    assert "`nodes` is already the name of a variable" in outcome.err


def test_an_undefined_name_is_still_to_be_defined(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(
        "version: 1\nname: p\nsettings: {/proc/sys/vm/swappiness: '{{ x }}'}\n"
    )
    (tmp_path / "q.yaml").write_text(
        "version: 1\nname: p\nsettings: {/proc/sys/vm/swappiness: '{{ memry }}'}\n"
    )

    assert "hint: define it under `vars:`" in cli("validate", "p.yaml").err
    assert "hint: did you mean `memory`?" in cli("validate", "q.yaml").err


def test_a_quiet_command_says_only_what_is_wrong(site):
    file = site.setting("a", 1)

    assert (site.done("-q", "apply", file).out, site.done("apply", file, "--quiet").err) == ("", "")
    outcome = site.run("-q", "remove", "no/file.yaml")
    assert outcome.out == ""
    assert "error[" in outcome.err
    assert "name: a" in site.done("-q", "show", "a").out
    assert site.json("-q", "plan", file)["changed"] is False


def test_slots_are_counted_as_people_do():
    assert [_slots_of(each) for each in (0, 1, 2)] == ["0 slots", "1 slot", "2 slots"]


@pytest.mark.parametrize(("user", "hint"), [(1000, "run as root"), (0, "root may not either")])
def test_root_is_not_told_to_be_root(monkeypatch, user, hint):
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert as_root().startswith(hint)


def test_what_the_machine_lacks_ends_alike(site):
    process = VARS.format(more="", each="x").replace("paddr", "vaddr").replace(
        "{system_ram: true}", "{process: {name: nobody-at-all}}"
    )  # fmt: skip
    cgroup = VARS.format(more="", each="x").replace(
        "action: pageout", "action: pageout\n        filters: [{reject: {memcg: /none}}]"
    )
    codes = {site.run("plan", site.policy("p", text)).code for text in (process, cgroup)}

    assert codes == {ExitCode.INVALID}


def test_csv_is_of_regions(site):
    site.done("apply", shipped("monitor"))

    for other in ("--total", "--boxes"):
        outcome = site.run("report", "snapshot", "--csv", other)
        assert outcome.code == ExitCode.USAGE
        assert f"`--csv` and `{other}` do not go together" in outcome.err


def test_a_line_of_a_report_has_names_of_its_own(site):
    site.done("apply", shipped("monitor"))
    site.machine.sleep(2)

    outcome = site.run("report", "snapshot", "--line", "{{ foo }}")

    assert outcome.code == ExitCode.USAGE
    assert "vars" not in outcome.err
    assert "hint: one of `kdamond`, `scheme`, `" in outcome.err


def test_times_have_a_zone(site):
    site.done("apply", site.setting("a", 1))

    (line,) = [each for each in site.done("history").out.splitlines() if " a (" in each]
    assert line.split()[3][0] in "+-"
    assert len(line.split()[3]) == 5


def test_a_recording_says_that_it_has_begun(site):
    site.done("apply", shipped("monitor"))
    out = str(site.directory / "x.parquet")

    outcome = site.done("record", "--count", "1", "--out", out)

    assert outcome.err.startswith(f"recording into {out}\n")


@pytest.mark.parametrize("path", ["", ".", "/proc/sys/vm/../vm/swappiness"])
def test_a_setting_that_is_no_path_has_its_place(site, path):
    outcome = site.run(
        "plan", site.policy("p", f"version: 1\nname: p\nsettings: {{'{path}': 1}}\n")
    )

    assert outcome.code == ExitCode.INVALID
    assert "p.yaml:3:12: error[DP0242]" in outcome.err


@pytest.mark.parametrize(
    ("words", "content", "code", "message", "hint"),
    [
        (("plan", "mine"), "", 65, "cannot read `mine`", "did you mean `mine.yaml`?"),
        (("plan", "mind.yaml"), "", 65, "cannot read `mind.yaml`", "did you mean `mine.yaml`?"),
        (("plan", "x"), "", 65, "cannot read `x`", "`damonpolicy init` lists the shipped policies"),
        (("import", "mine.yaml"), "version: 1\nname: a\nkdamonds: []\n", 64,
         "`mine.yaml` is a policy of damonpolicy already", "`damonpolicy validate mine.yaml` checks it"),
        (("import", "mine.yaml"), "root=/dev/sda quiet\n", 64, "`mine.yaml` contains nothing for DAMON",
         "`damonpolicy import --help`"),
        (("import", "mine.yaml"), "", 64, "`mine.yaml` contains nothing for DAMON", "--help"),
        (("import", "mine.yaml"), "#!/bin/sh\necho 70 > /proc/sys/vm/swappiness\n", 64,
         "`mine.yaml` writes nothing to DAMON", "--help"),
        (("init", "ksm", "-o", "."), "", 64, "`.` is a directory", "`-o ksm.yaml`"),
        (("render", "mine.yaml", "--script", "--cmdline"), "", 64, "a script or parameters", "take one"),
        (("rollback", "web"), "", 64, "`web` is no number", "damonpolicy rollback --help"),
    ],
)  # fmt: skip
def test_what_is_meant_is_said(cli, tmp_path, words, content, code, message, hint):
    (tmp_path / "mine.yaml").write_text(content)
    outcome = cli(*words, "--kernel", "emulated:7.3")

    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert hint in outcome.err.partition("hint: ")[2]


def test_tmpfiles_that_write_no_value_are_passed_over(cli, tmp_path):
    path = "/sys/module/damon_reclaim/parameters/min_age"
    (tmp_path / "a.conf").write_text(f"d /run/foo 0755 root root -\nw {path} - - - - 1000000\n")

    assert "min_age: 1s" in cli("import", "a.conf").out


def test_status_says_who_has_ended(site):
    site.done("apply", shipped("monitor"))
    site.machine.exit_process(811)
    (kdamond,) = site.json("status")["data"]["kdamonds"]
    assert [(each["pid"], each["process"]) for each in kdamond["targets"]] == [
        (811, ""), (815, "qemu-system-x86"),
    ]  # fmt: skip
    assert "  vaddr: pid 811 (ended), pid 815 (qemu-system-x86)" in site.done("status").out

    site.machine.exit_process(815)
    site.machine.sleep(5)
    assert (
        "  its processes have ended: `damonpolicy apply` starts it again with others"
        in site.done("status").out
    )


def test_intervals_of_a_module_are_tuned_toward_what_nobody_tells(site):
    site.machine.sleep(1)
    (found,) = site.json("report", "snapshot")["data"]["snapshots"]

    assert (found["intervals_tuned"], found["tuning"]) == (True, None)
    assert "toward" not in site.done("report", "snapshot").out


def test_policies_of_a_generation_are_told_apart(site):
    site.done("apply", shipped("ksm"))
    site.done("apply", shipped("proactive-reclaim"))

    assert site.done("show", "2").out.count("---\n") == 1
    assert site.done("show", "0").out == "# no policy was applied\n"
