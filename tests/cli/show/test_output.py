"""Common output of all commands: the document, the first line, the options, the end."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.main import COMMANDS
from damonpolicy.observe.records import files as records
from tests.conftest import ROOT, python, run_cli
from tests.engine.site import shipped
from tests.observe.seen import series
from tests.outputs import conforming_lines

KEYS = ["schema", "ok", "exit_code", "changed", "kernel", "diagnostics", "data"]
KSM = shipped("ksm")

SUCCEEDS = {
    "init": ("init",),
    "validate": ("validate", KSM),
    "plan": ("plan", KSM),
    "apply": ("apply", KSM),
    "run": ("run", "{place}"),
    "confirm": ("confirm",),
    "rollback": ("rollback", "0"),
    "recover": ("recover",),
    "history": ("history",),
    "show": ("show", "monitor"),
    "status": ("status",),
    "diff": ("diff",),
    "remove": ("remove", "monitor"),
    "stop": ("stop", "--all"),
    "record": ("record", "--count", "2", "--out", "{place}/new.parquet"),
    "report": ("report", "wss"),
    "convert": ("convert", "{place}/seen.json", "{place}/new.json"),
    "import": ("import",),
    "render": ("render", shipped("proactive-reclaim")),
    "features": ("features",),
    "doctor": ("doctor",),
    "emulate": ("emulate", "forward", "5s"),
    "explain": ("explain", "quota.size"),
    "schema": ("schema",),
    "completion": ("completion", "bash"),
}
CHANGES = {"apply", "confirm", "rollback", "remove", "stop", "emulate"}
RAW = {"init", "schema", "completion", "import", "render", "show"}
"""Whose output is a file of its own."""
SCHEMAS = {"report": "report-wss", "emulate": "emulate-forward"}
"""Each command of a group has a document of its own."""
NOWHERE = {"convert", "explain", "init", "schema", "completion", "validate"}
"""Which look at no machine."""

FAILS = {
    "init": (("init", "nosuch"), ExitCode.USAGE),
    "validate": (("validate", "/nowhere.yaml"), ExitCode.INVALID),
    "plan": (("plan", "/nowhere.yaml"), ExitCode.INVALID),
    "apply": (("apply",), ExitCode.USAGE),
    "run": (("run", "--debounce", "soon"), ExitCode.USAGE),
    "confirm": (("confirm", "now"), ExitCode.USAGE),
    "rollback": (("rollback", "99"), ExitCode.USAGE),
    "recover": (("recover", "--bogus"), ExitCode.USAGE),
    "history": (("history", "--format"), ExitCode.USAGE),
    "show": (("show", "nosuch"), ExitCode.USAGE),
    "status": (("status", "extra"), ExitCode.USAGE),
    "diff": (("diff", "-x"), ExitCode.USAGE),
    "remove": (("remove", "no/such.yaml"), ExitCode.USAGE),
    "stop": (("stop",), ExitCode.USAGE),
    "record": (("record", "--count", "0"), ExitCode.USAGE),
    "report": (("report", "wss", "--size", "x"), ExitCode.USAGE),
    "top": (("top",), ExitCode.USAGE),
    "convert": (("convert", "/nowhere", "x.json"), ExitCode.FAILED),
    "import": (("import", "99"), ExitCode.USAGE),
    "render": (("render", KSM, "--cmdline"), ExitCode.USAGE),
    "features": (("features", "nosuch"), ExitCode.USAGE),
    "doctor": (("doctor", "extra"), ExitCode.USAGE),
    "emulate": (("emulate", "forward", "soon"), ExitCode.USAGE),
    "explain": (("explain", "nosuch"), ExitCode.USAGE),
    "schema": (("schema", "extra"), ExitCode.USAGE),
    "completion": (("completion", "tcsh"), ExitCode.USAGE),
}


@pytest.fixture
def ready(site, monkeypatch):
    """A policy is applied, and its confirmation is waited for where that is asked."""
    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", lambda *_: None)
    monkeypatch.setattr(
        "damonpolicy.daemon.scheduler.Service.run", lambda self, ready: self.step()
    )  # else it would go on for ever
    monkeypatch.setattr("damonpolicy.cli.logs.configure", lambda **_: None)
    site.done("apply", shipped("monitor"))
    return site


def test_every_command_is_tried():
    assert list(FAILS) == list(COMMANDS)
    assert list(SUCCEEDS) == [each for each in COMMANDS if each != "top"], "which needs a terminal"


def words_of(ready, command):
    """The words of a command that succeeds; what it reads and writes has a place of its own."""
    place = str(ready.directory)
    if command == "convert":
        records.write(f"{place}/seen.json", [series([(0, 1, 1, 1)])], "damo-json")
    return [word.replace("{place}", place) for word in SUCCEEDS[command]]


@pytest.mark.parametrize("command", SUCCEEDS)
def test_one_document_where_it_succeeds(ready, command):
    if command == "confirm":
        ready.done("apply", KSM, "--confirm-within", "1h")
    before = ready.world.look()
    outcome = ready.run(*words_of(ready, command), "--format", "json")
    document = outcome.json

    assert list(document) == KEYS
    assert document["schema"] == f"damonpolicy.{SCHEMAS.get(command, command)}/1"
    assert outcome.code == document["exit_code"]
    assert outcome.code == (ExitCode.CHANGES if command == "plan" else 0)
    assert document["ok"] is True
    assert document["changed"] is (command in CHANGES or command == "plan")  # which would change it
    if command not in CHANGES:
        assert ready.world.look() == before
    assert document["data"]
    assert outcome.err == ""
    if command in NOWHERE:
        assert document["kernel"] is None
    else:
        release = ready.read("/proc/sys/kernel/osrelease")
        assert document["kernel"] == {"name": "emulated:7.3", "release": release}


@pytest.mark.parametrize("command", COMMANDS)
def test_one_document_where_it_fails(ready, command):
    words, code = FAILS[command]
    outcome = ready.run("--format", "json", *words)
    document = outcome.json

    assert list(document) == KEYS
    assert document["schema"] == f"damonpolicy.{SCHEMAS.get(command, command)}/1"
    assert outcome.code == document["exit_code"] == code
    assert document["ok"] is document["changed"] is False
    assert outcome.err == ""
    for each in document["diagnostics"]:
        assert each["severity"] == "error"
        assert each["message"]
        assert not each["message"].endswith(".")
    assert document["diagnostics"]


@pytest.mark.parametrize("command", SUCCEEDS)
def test_the_first_line_says_that_nothing_is_real(ready, command):
    if command == "confirm":
        ready.done("apply", KSM, "--confirm-within", "1h")
    lines = ready.run(*words_of(ready, command)).out.splitlines()
    said = lines[0].startswith("emulated kernel 7.3") and "nothing real is touched" in lines[0]

    assert said is (command not in RAW and command not in ("validate", "convert", "explain"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there_without_a_machine(command):
    outcome = run_cli("--kernel", "live", command, "--help")

    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: damonpolicy {command}")
    assert "--format" in outcome.out
    assert outcome.err == ""


def test_options_stand_before_and_after(site):
    state = ("--state-dir", site.directory)
    site.done("apply", shipped("monitor"))
    expected = site.json("status")["data"]
    everything = ("--kernel", "emulated:7.3", *state, "--format", "json")
    for before in range(0, len(everything) + 1, 2):
        words = (*everything[:before], "status", *everything[before:])
        assert run_cli(*words).json["data"] == expected

    both = run_cli("--kernel", "emulated:6.12", *state, "status", "--kernel", "emulated:7.3")
    assert both.code == 0, "the later one holds"


def test_a_value_that_is_named_like_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run_cli("--kernel", "emulated:7.3", "--state-dir", "plan", "--format", "json", "diff")

    assert outcome.json["schema"] == "damonpolicy.diff/1"


def test_the_environment_names_the_kernel(site, monkeypatch):
    monkeypatch.setenv("DAMONPOLICY_KERNEL", "emulated:7.3")
    outcome = run_cli("--state-dir", site.directory, "status")
    assert outcome.out.startswith("emulated kernel 7.3")
    outcome = run_cli("--state-dir", site.directory, "--kernel", "emulated:9.9", "status")
    assert outcome.code == ExitCode.USAGE


@pytest.mark.parametrize("form", [("--format", "json"), ("--format=json",)])
def test_a_wrong_option_comes_in_the_form_that_was_asked_for_after_it(form):
    outcome = run_cli("status", "--bogus", *form)

    assert outcome.json["exit_code"] == outcome.code == ExitCode.USAGE
    assert outcome.err == ""


def test_a_word_that_is_no_command():
    outcome = run_cli("aply")
    assert outcome.code == ExitCode.USAGE
    assert "there is no command `aply`" in outcome.err
    assert "hint: did you mean `apply`?" in outcome.err
    assert run_cli("status", "--verbos").err == (
        "error[DP0501]: no such option `--verbos`\n  hint: did you mean `--verbose`?\n"
    )
    nothing = run_cli()
    assert (nothing.code, nothing.err) == (ExitCode.USAGE, "")
    assert nothing.out.startswith("Usage: damonpolicy")


def test_the_version():
    assert run_cli("--version").out.startswith("damonpolicy, version ")


class TestRoot:
    """A copy of a machine can be looked at, and at nothing else."""

    def test_looking(self, tmp_path):
        kdamonds = tmp_path / "sys/kernel/mm/damon/admin/kdamonds"
        kdamonds.mkdir(parents=True)
        (kdamonds / "nr_kdamonds").write_text("0\n")
        outcome = run_cli("--root", tmp_path, "status", "--format", "json")

        assert outcome.json["kernel"]["name"] == f"root:{tmp_path}"
        changed = run_cli("--root", tmp_path, "apply", KSM)
        assert changed.code == ExitCode.USAGE
        assert "`--root` is for reading only" in changed.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--root", "/"), "`--root /` is this machine itself"),
            (("--root", "/proc/.."), "`--root /` is this machine itself"),
            (("--root", "/nowhere"), "there is no directory `/nowhere`"),
            (("--root", "/tmp", "--kernel", "emulated:7.3"), "leave `--kernel` out"),
        ],
    )
    def test_other_places(self, words, said):
        for command in (("status",), ("apply", KSM)):
            outcome = run_cli(*words, *command)
            assert outcome.code == ExitCode.USAGE
            assert said in outcome.err


class TestColour:
    @pytest.mark.parametrize(
        ("environment", "coloured"),
        [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    )
    def test_only_where_it_is_wanted(self, site, monkeypatch, environment, coloured):
        monkeypatch.delenv("NO_COLOR")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        outcome = site.run("plan", KSM)

        assert ("\x1b[" in outcome.out) is coloured
        assert "\x1b[" not in site.run("plan", KSM, "--format", "json").out
        assert "\x1b[" not in site.run("schema").out

    def test_it_adds_nothing_but_colour(self, site, monkeypatch):
        plain = site.run("plan", KSM).out
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("FORCE_COLOR", "1")
        coloured = site.run("plan", KSM).out
        for code in ("\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"):
            coloured = coloured.replace(code, "")

        assert coloured == plain


class TestLogging:
    def test_on_request_on_stderr(self, site):
        outcome = site.done("apply", shipped("monitor"), "-v", "--log-format", "json")
        events = conforming_lines(outcome.err)

        assert [each["event"] for each in events] == ["begin", "applied"]
        assert {each["level"] for each in events} == {"info"}
        assert events[0]["generation"] == 1
        assert "begin" not in outcome.out

    def test_twice_for_every_operation(self, site):
        outcome = site.done("-vv", "apply", shipped("monitor"))
        assert "operation" in outcome.err
        assert "nr_kdamonds" in outcome.err

    @pytest.fixture(autouse=True)
    def quiet_again(self):
        """The sink is for the process; a command line has one of its own."""
        from damonpolicy.base import log

        before = list(log._sinks)
        yield
        log._sinks[:] = before


def whole(site, *words, environment=None, **options):
    """A whole process."""
    return subprocess.run(
        [*python(), "--kernel", f"emulated:{site.kernel}", "--state-dir", str(site.directory),
         *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DAMONPOLICY_FORBID_LIVE": "1",
             **(environment or {})},
        capture_output="stdout" not in options, check=False, **options,
    )  # fmt: skip


def test_a_reader_that_has_gone_is_no_failure(site):
    """What was done stays done, and the exit code says so."""
    reading, writing = os.pipe()
    os.close(reading)
    done = whole(site, "apply", KSM, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr
    assert sorted(site.world.managed.policies) == ["ksm"]


def test_help_to_nobody(site):
    reading, writing = os.pipe()
    os.close(reading)
    done = whole(site, "--help", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert done.stderr == b""


def test_a_terminal_without_utf8(site):
    policy = site.policy("ü", "version: 1\nname: ü\n")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = whole(site, "plan", policy, KSM, environment=ascii_only)

    assert done.returncode == ExitCode.INVALID
    assert b"Traceback" not in done.stderr
    assert b"error[DP" in done.stderr
    assert done.stderr.isascii()
    planned = whole(site, "plan", KSM, environment=ascii_only)
    assert planned.returncode == ExitCode.CHANGES
    assert planned.stdout.isascii()


def test_a_name_that_is_no_text(site):
    done = whole(site, b"plan", b"\xff.yaml", b"--format", b"json")

    assert done.returncode == ExitCode.INVALID
    assert json.loads(done.stdout)["exit_code"] == ExitCode.INVALID


def test_policies_from_standard_input(site):
    text = b"version: 1\nname: piped\nsettings: {/sys/kernel/mm/ksm/run: 1}\n"
    for words, code in ((("validate", "-"), 0), (("plan", "-"), 2), (("apply", "-"), 0)):
        done = whole(site, *words, input=text)
        assert done.returncode == code, done.stderr
    assert list(site.world.managed.policies) == ["piped"]
    wrong = whole(site, "plan", "-", input=b"version: 1\nname: [\n")
    assert wrong.returncode == ExitCode.INVALID
    assert b"<stdin>:" in wrong.stderr


def test_what_forbids_to_write_is_named(cli, monkeypatch, tmp_path):
    """Not as a lack of rights: root would be told to be root."""
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\nname: p\nsettings: {/sys/kernel/mm/ksm/run: 0}\n")
    outcome = cli("apply", str(path), "--kernel", "live")

    assert outcome.code == ExitCode.NO_PERMISSION
    assert "DAMONPOLICY_FORBID_LIVE forbids to write the real machine" in outcome.err
    assert "hint: unset it, or take an emulated machine" in outcome.err
