"""Writing shipped policies, the schema, and completion scripts."""

from __future__ import annotations

import json
import subprocess

import pytest

from damonpolicy.base.errors import ExitCode
from tests.world import ROOT, SHIPPED


def as_shipped(name):
    """But for where the schema is, which editors look for: beside it, on any machine."""
    text = (ROOT / "policies" / f"{name}.yaml").read_text()
    assert "$schema=../schemas/" in text
    return text.replace("$schema=../schemas/", "$schema=")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_is_written_as_it_is(cli, tmp_path, name):
    outcome = cli("init", name)

    assert (outcome.code, outcome.out, outcome.err) == (0, f"{name}.yaml\n", "")
    text = (tmp_path / f"{name}.yaml").read_text()
    assert text == as_shipped(name)
    assert (tmp_path / "policy.v1.schema.json").read_text() == cli("schema").out
    assert cli("validate", f"{name}.yaml").code == 0


def test_a_schema_that_is_there_stays(cli, tmp_path):
    (tmp_path / "policy.v1.schema.json").write_text("mine")

    assert cli("init", "ksm").code == 0
    assert (tmp_path / "policy.v1.schema.json").read_text() == "mine"


def test_what_is_there_is_not_replaced(cli, tmp_path):
    (tmp_path / "ksm.yaml").write_text("mine")
    outcome = cli("init", "ksm")

    assert outcome.code == ExitCode.USAGE
    assert outcome.err == "error[DP0501]: `ksm.yaml` exists\n  hint: `--force` replaces it\n"
    assert (tmp_path / "ksm.yaml").read_text() == "mine"
    assert cli("init", "ksm", "--force").code == 0
    assert (tmp_path / "ksm.yaml").read_text().startswith("# yaml-language-server")


def test_other_places(cli, tmp_path):
    document = cli("init", "ksm", "-o", "other.yaml", "--format", "json").json
    assert document["data"] == {"file": "other.yaml", "schema": "policy.v1.schema.json"}
    assert document["changed"] is True
    assert (tmp_path / "other.yaml").exists()
    piped = cli("init", "ksm", "-o", "-")
    assert piped.out == as_shipped("ksm")
    assert not (tmp_path / "ksm.yaml").exists()
    outcome = cli("init", "ksm", "-o", "no/where.yaml")
    assert outcome.code == ExitCode.FAILED
    assert "cannot write `no/where.yaml`: no such file or directory" in outcome.err


def test_without_a_name_they_are_listed(cli):
    rows = cli("init", "--format", "json").json["data"]["policies"]
    lines = cli("init").out.splitlines()

    assert sorted(rows) == sorted(SHIPPED)
    assert all(rows.values())
    assert [line.split()[0] for line in lines] == sorted(SHIPPED)
    assert rows["ksm"] in next(line for line in lines if line.startswith("ksm "))


def test_a_name_that_nearly_is_one(cli):
    outcome = cli("init", "monitr")

    assert outcome.code == ExitCode.USAGE
    assert "hint: did you mean `monitor`?" in outcome.err


def test_the_schema_is_the_file(cli):
    text = (ROOT / "schemas/policy.v1.schema.json").read_text()

    assert cli("schema").out == text
    assert cli("schema", "--format", "json").json["data"] == json.loads(text)


@pytest.mark.parametrize("name", ["status", "report wss", "report-wss"])
def test_the_schema_of_output_is_the_file(cli, name):
    words = ("schema", "output", *name.split())
    text = (ROOT / f"schemas/output/{name.replace(' ', '-')}.schema.json").read_text()

    assert cli(*words).out == text
    assert cli(*words, "--format", "json").json["data"] == json.loads(text)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("status",), "did you mean `damonpolicy schema output status`?"),
        (("extra",), "`damonpolicy schema output COMMAND` prints a command's"),
        (("output",), "name one, as in `damonpolicy schema output status`"),
        (("output", "statu"), "did you mean `status`?"),
        (("output", "report", "ws"), "did you mean `report wss`?"),
    ],
)
def test_schemas_that_are_not_there(cli, words, hint):
    outcome = cli("schema", *words)

    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert f"hint: {hint}\n" in outcome.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(cli, shell):
    outcome = cli("completion", shell)

    assert outcome.code == 0
    assert "_DAMONPOLICY_COMPLETE" in outcome.out
    if shell == "bash":
        done = subprocess.run(["bash", "-n"], input=outcome.out, text=True, check=False)
        assert done.returncode == 0


def test_names_are_completed(monkeypatch):
    from click.shell_completion import ShellComplete

    from damonpolicy.cli.main import COMMANDS, damonpolicy

    complete = ShellComplete(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE")

    def words(arguments, incomplete):
        return [each.value for each in complete.get_completions(arguments, incomplete)]

    assert words([], "") == list(COMMANDS)
    assert words([], "st") == ["status", "stop"]
    assert words(["init"], "m") == ["memory-tiering", "monitor"]
    assert words(["schema"], "") == ["output"]
    assert words(["schema", "output"], "st") == ["status", "stop"]
    assert words(["schema", "output", "report"], "h") == ["heatmap", "histogram"]
    assert words(["schema", "output", "status"], "") == []
    assert words(["features"], "sample.t") == ["sample.threads"]


def test_files_are_left_to_the_shell():
    from click.shell_completion import ShellComplete

    from damonpolicy.cli.main import damonpolicy

    complete = ShellComplete(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE")
    for command in ("apply", "plan", "validate"):
        for before in ([], ["one.yaml"], ["--vars-file"]):
            found = complete.get_completions([command, *before], "p")
            assert [each.type for each in found] == ["file"]
    assert [each.type for each in complete.get_completions(["status", "--state-dir"], "")] == [
        "dir"
    ]


def test_what_is_applied_is_completed(cli, monkeypatch):
    from click.shell_completion import ShellComplete

    from damonpolicy.cli.main import damonpolicy

    monkeypatch.setenv("DAMONPOLICY_KERNEL", "emulated:7.3")
    complete = ShellComplete(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE")
    assert complete.get_completions(["remove"], "") == []
    cli("apply", str(ROOT / "policies/ksm.yaml"))
    cli("apply", str(ROOT / "policies/proactive-reclaim.yaml"))

    found = complete.get_completions(["remove"], "k")
    assert [each.value for each in found] == ["ksm"]
    assert [each.value for each in complete.get_completions(["rollback"], "")] == ["2", "1"]


def test_the_help_lists_every_command(cli):
    from damonpolicy.cli.main import COMMANDS

    lines = cli("--help").out.splitlines()
    for name, what in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, what] for line in lines if line.strip())


def test_debugging_shows_where_a_defect_is(cli, monkeypatch):
    monkeypatch.setattr("damonpolicy.cli.commands.init.shipped.policies", lambda: 1 / 0)
    outcome = cli("init")
    assert outcome.code == ExitCode.INTERNAL
    assert "ZeroDivisionError at test_init.py:" in outcome.err

    monkeypatch.setenv("DAMONPOLICY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli("init")


@pytest.mark.parametrize(
    ("form", "expected"),
    [("github", "::error file=bad.yaml,line=1,"), ("sarif", '"version": "2.1.0"')],
)
def test_findings_for_other_programs(cli, tmp_path, form, expected):
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    outcome = cli("validate", "bad.yaml", "--format", form)

    assert outcome.code == ExitCode.INVALID
    assert expected in outcome.out
    assert outcome.err == ""


def test_a_file_that_is_not_there_is_a_finding_too(cli):
    outcome = cli("--format", "github", "validate", "none.yaml")

    assert outcome.code == ExitCode.INVALID
    assert outcome.out.startswith("::error")


@pytest.mark.parametrize(
    "place", [("--format", "sarif", "status"), ("status", "--format", "sarif")]
)
def test_formats_for_findings_are_for_validate(cli, place):
    outcome = cli(*place)

    assert outcome.code == ExitCode.USAGE
    assert outcome.err.startswith("error[DP0501]: ")


def test_warnings_count_where_that_is_asked(cli, tmp_path):
    """An allow before a reject is probably not meant so."""
    case = ROOT / "tests/errors/allow-before-reject-warns/policy.yaml"
    (tmp_path / "p.yaml").write_text(case.read_text())
    relaxed, strict = cli("validate", "p.yaml"), cli("validate", "p.yaml", "--strict")

    assert (relaxed.code, strict.code) == (0, ExitCode.INVALID)
    assert "warning[" in relaxed.err
    assert "error[" in strict.err
    assert "warning[" not in strict.err
