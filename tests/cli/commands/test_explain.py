"""`explain`, `show` and `diff` describe keys, findings, policies and files."""

from __future__ import annotations

import tomllib

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.commands.explain import keys
from damonpolicy.cli.main import _INSTEAD as INSTEAD
from damonpolicy.cli.main import COMMANDS
from tests.conftest import ROOT
from tests.engine.site import KSM_RUN, shipped


def test_every_finding_is_explained(cli):
    texts = tomllib.loads((ROOT / "docs/texts/diagnostics.toml").read_text())

    for code, text in texts.items():
        document = cli("explain", code, "--format", "json").json["data"]["finding"]
        assert document == {"code": code, **{key: text[key] for key in ("title", "means", "do")}}


def test_every_key_is_explained(cli):
    found = list(keys())

    assert len(found) > 150
    assert all(each.what and each.takes for each in found)
    for path in ("version", "kdamonds.schemes.quota.size", "kdamonds.targets.process.name"):
        assert path in {each.called for each in found}


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("quota.size", "kdamonds.schemes.quota.size"),
        ("when_absent", "one of `fail`, `wait`"),
        ("action", "`pageout`"),
        ("nr_accesses", "kdamonds.schemes.access_pattern.access_rate"),
        ("damos_quota_space", "kdamonds.schemes.quota.size"),
        ("--damos_wmarks", "kdamonds.schemes.watermarks"),
        ("aggr_us", "kdamonds.intervals.aggregation"),
        ("dp0217", "Add `size` or `time` with `every`"),
        ("quota.size", "kernel: schemes/N/quotas/bytes"),
        ("quotas/bytes", "kdamonds.schemes.quota.size"),
        ("contexts/0/schemes/3/access_pattern/nr_accesses/min", "access_pattern.access_rate.min"),
        ("pageout", "`pageout` is a word for:"),
        ("anon", "kdamonds.schemes.filters.allow"),
        ("DP217", "DP0217: "),
        ("0217", "DP0217: "),
        ("quota", "takes `unlimited`, or a mapping of `every`"),
        ("schemes.filters.allow.memcg", "for example `/machine.slice`, or a mapping of `path`"),
    ],
)
def test_what_is_asked_is_explained(cli, topic, said):
    outcome = cli("explain", "--", topic)

    assert outcome.code == 0
    assert said in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("topic", "hint"),
    [("sise", "`size`"), ("DP9999", ""), ("", "init"), ("quota.sizee", "`quota.size`")],
)
def test_what_is_not_known_is_said(cli, topic, hint):
    outcome = cli("explain", topic)

    assert outcome.code == ExitCode.USAGE
    assert hint in outcome.err


def test_what_was_applied_is_shown_as_it_was(site):
    file = site.policy(
        "a", f"version: 1\nname: a\nvars: {{x: 1}}\nsettings: {{{KSM_RUN}: '{{{{ x }}}}'}}\n"
    )
    site.done("apply", file, "--set", "x=0")
    text = site.policy("a", "changed since\n")

    assert "# --set x=0\nversion: 1\nname: a\n" in site.done("show", "a").out
    assert "name: a" in site.done("show", "1").out
    assert site.json("show", "a")["data"]["policies"][0]["variables"] == {"x": "0"}
    assert text


def test_an_earlier_generation_is_shown(site):
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("b", 60, "/proc/sys/vm/swappiness"))
    site.done("remove", "a")

    assert "# policy" not in site.done("show", "1").out
    both = site.done("show", "2").out
    assert both.index("# policy a") < both.index("# policy b")
    assert "there are 0, 1, 2, 3" in site.run("show", "9").err
    assert "did you mean `b`" in site.run("show", "bb").err


def test_a_difference_is_shown_of_one_policy(site):
    site.done("apply", site.setting("a", 1), site.setting("b", 60, "/proc/sys/vm/swappiness"))
    site.world.write(KSM_RUN, "0")

    assert site.run("diff").code == ExitCode.CHANGES
    assert KSM_RUN in site.run("diff", "a").out
    assert "No drift" in site.done("diff", "b").out
    assert site.run("diff", "c").code == ExitCode.USAGE


def test_the_difference_of_a_file_is_what_it_would_change(site):
    file = shipped("monitor")

    outcome = site.run("diff", file)

    assert outcome.code == ExitCode.CHANGES
    assert outcome.out == site.run("plan", file).out
    assert site.run("diff", "/nowhere.yaml").code == ExitCode.INVALID


def test_the_history_of_one_policy(site):
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("b", 60, "/proc/sys/vm/swappiness"))

    assert [each["generation"] for each in site.json("history", "b")["data"]["generations"]] == [2]


@pytest.mark.parametrize("word", ["reload", "destroy", "list", "delete", "check", "describe"])
def test_what_is_typed_by_habit_is_answered(cli, word):
    outcome = cli(word)

    assert outcome.code == ExitCode.USAGE
    assert "hint: " in outcome.err
    assert "damonpolicy" in outcome.err.partition("hint: ")[2]


def test_no_command_is_answered_by_another():
    assert INSTEAD.keys().isdisjoint(COMMANDS)


COMPLEMENT = """version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {kind: write}
    schemes: [{name: s, action: stat}]
"""


def test_several_kernels_are_looked_at_in_one_call(cli, tmp_path):
    (tmp_path / "p.yaml").write_text(COMPLEMENT)
    (tmp_path / "q.yaml").write_text(COMPLEMENT.replace("    accesses: {kind: write}\n", ""))
    kernels = ("--kernel", "emulated:6.12", "--kernel", "emulated:7.3")

    good = cli("validate", "q.yaml", *kernels)
    bad = cli("validate", "p.yaml", *kernels)

    assert good.out == "`p` is valid on emulated:6.12 and emulated:7.3\n"
    assert bad.code == ExitCode.UNSUPPORTED
    assert bad.err.count("error[") >= 1
    one = cli("validate", "p.yaml", "--kernel", "emulated:6.12")
    assert one.code == ExitCode.UNSUPPORTED
    assert "emulated:6.12" not in one.err.splitlines()[0]


def test_a_finding_of_one_kernel_says_which(cli, tmp_path):
    tuned = (
        "intervals: {auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}"
    )
    text = COMPLEMENT.replace("accesses: {kind: write}", tuned)
    (tmp_path / "p.yaml").write_text(text)

    outcome = cli("validate", "p.yaml", "--kernel", "emulated:6.12", "--kernel", "emulated:7.3")

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "emulated:6.12: " in outcome.err
    assert "emulated:7.3: " not in outcome.err
