"""The imports of each command, which are its cost and part of its contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from damonpolicy.cli.commands.report import REPORTS
from tests.conftest import ROOT

LIGHT = {"click"}
MODEL = {"click", "pydantic", "pydantic_core", "annotated_types", "typing_extensions",
         "typing_inspection", "yaml", "_yaml"}  # fmt: skip
TEMPLATES = {"jinja2", "markupsafe"}
SEEN = LIGHT | {"numpy"}

CALCULATED = "calculated.yaml"
KSM = str(ROOT / "policies/ksm.yaml")
ALLOWED = {
    ("--version",): LIGHT,
    ("--help",): LIGHT,
    ("apply", "--help"): LIGHT,
    ("completion", "zsh"): LIGHT,
    ("run", "--help"): LIGHT,
    ("status",): LIGHT,
    ("history",): LIGHT,
    ("confirm",): LIGHT,
    ("rollback", "0"): LIGHT,
    ("recover",): LIGHT,
    ("stop", "--all"): LIGHT,
    ("remove", "x"): LIGHT,
    ("diff",): LIGHT,
    ("import",): MODEL,
    ("import", "plain.yaml"): MODEL,
    ("record", "--help"): LIGHT,
    ("convert", "--help"): LIGHT,
    ("features",): LIGHT,
    ("doctor",): LIGHT,
    ("explain", "quota.size"): LIGHT,
    ("explain", "DP0217"): LIGHT,
    ("show", "0"): LIGHT,
    ("schema",): LIGHT,
    ("init",): LIGHT,
    ("validate", "plain.yaml"): MODEL,
    ("plan", "plain.yaml"): MODEL,
    ("apply", "plain.yaml"): MODEL,
    ("validate", KSM): MODEL,
    ("plan", KSM): MODEL,
    ("apply", KSM): MODEL,
    ("validate", CALCULATED): MODEL | TEMPLATES,
    ("report", "--help"): LIGHT,
    ("report", "snapshot"): SEEN,
    ("report", "histogram"): SEEN,
    ("report", "wss"): SEEN,
    ("report", "heatmap"): SEEN,
    ("report", "rank"): SEEN,
    ("report", "numa"): SEEN,
    ("top", "--help"): SEEN,
    # structlog takes what it finds for colours and classes
    ("status", "-v"): LIGHT | {"structlog", "attr", "attrs", "rich", "pygments"},
}


def test_every_report_has_a_list():
    assert {words[1] for words in ALLOWED if words[0] == "report"} == {*REPORTS, "--help"}


PROBE = """
import json, sys
from damonpolicy.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
own = set(sys.stdlib_module_names) | {"damonpolicy", "__main__"}
tops = {name.split(".")[0] for name in sys.modules}
# what the interpreter and compiled modules make up themselves begins with an underscore
hidden = ("__", "_cython", "_sysconfigdata", "cython_runtime")
print(json.dumps(sorted(t for t in tops - own if not t.startswith(hidden))))
"""


AGAIN = [
    *((command, file) for command in ("validate", "plan", "apply") for file in (KSM, CALCULATED)),
    ("render", str(ROOT / "policies/proactive-reclaim.yaml")),
]
"""What needs no policy language once its policy was compiled for the machine as it is."""


@pytest.fixture
def imported(tmp_path):
    """Return a function that runs a command, and returns what it has imported."""
    (tmp_path / "plain.yaml").write_text(
        "version: 1\nname: p\nsettings: {/sys/kernel/mm/ksm/run: 1}\n"
    )
    (tmp_path / CALCULATED).write_text(
        'version: 1\nname: p\nvars: {on: 1}\nsettings: {/sys/kernel/mm/ksm/run: "{{ on | int }}"}\n'
    )
    site = [path for path in sys.path if "site-packages" in path]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *site]),
        "DAMONPOLICY_FORBID_LIVE": "1",
        "DAMONPOLICY_KERNEL": "emulated:7.3",
    }

    def run(command):
        # without site, so that nothing but the command itself can import anything
        done = subprocess.run(
            [sys.executable, "-S", "-c", PROBE, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(json.loads(done.stdout.splitlines()[-1]))

    return run


@pytest.mark.parametrize("command", ALLOWED, ids=lambda words: os.path.basename(" ".join(words)))
def test_command_imports_only_its_list(command, imported):
    found = imported(command)

    assert found <= ALLOWED[command], found - ALLOWED[command]


@pytest.mark.parametrize("command", AGAIN, ids=lambda words: os.path.basename(" ".join(words)))
def test_what_was_compiled_needs_click_alone(command, imported):
    assert "pydantic" in imported(command)
    imported(command)  # a first `apply` has changed settings, at which compiling looks

    assert imported(command) <= LIGHT


def test_the_engine_needs_python_alone(tmp_path):
    """`-I -S`: no site packages, no environment; the package's directory is all."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from damonpolicy.engine.recover import main; main()"
    )
    base = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    options = ["--kernel", "emulated:7.3", "--state-dir", str(tmp_path / "s")]
    environment = {"DAMONPOLICY_FORBID_LIVE": "1", "PATH": os.environ["PATH"]}
    for arguments, said in (([], "nothing to recover"), (["--stop-all"], "nothing is running")):
        done = subprocess.run(
            [*base, *options, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, f"{said}\n") == (done.returncode, done.stderr)


def test_stopping_all_without_any_library(cli, tmp_path):
    assert cli("--kernel", "emulated:7.3", "--state-dir", "s", "apply", KSM).code == 0
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from damonpolicy.engine.recover import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT), "--kernel", "emulated:7.3",
         "--state-dir", str(tmp_path / "s"), "--stop-all"],
        env={"DAMONPOLICY_FORBID_LIVE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "everything is stopped\n")
    status = cli("--kernel", "emulated:7.3", "--state-dir", "s", "status", "--format", "json").json
    assert status["data"]["kdamonds"] == []
    assert status["data"]["policies"] == {}
    assert json.loads("[]") == status["data"]["settings"]
