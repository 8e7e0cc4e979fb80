"""A new file of the kernel is three lines: a row of the schema, a file of the view, a model's field.

The lines go into a copy of the package, which then knows the file from the policy to the kernel and
back. CONTRIBUTING names the same three files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.world import ROOT

LINES = {
    "kernel/damon/schema.py": (
        '    Row(f"{_S}/target_nid"',
        '    Row(f"{_S}/patience_ms", "uint", "patience", "ms", plain=True),\n',
    ),
    "kernel/damon/view.py": (
        '    stats = Below("stats", Stats)',
        '    patience = _file("patience_ms")\n',
    ),
    "policy/model/schemes.py": (
        "    max_snapshots: Count | None = None",
        "    patience: Duration | None = None\n",
    ),
}
"""For each file of the package: where to insert, and what."""

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: s, action: stat, patience: 7s}]
modules: {damon_stat: {enabled: false}}
"""
FILE = "contexts/0/schemes/0/patience_ms"


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Run commands of a package that knows the new file, on an emulated kernel that has it."""
    place = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "damonpolicy", place / "damonpolicy", ignore=ignored)
    for name, (before, line) in LINES.items():
        path = place / "damonpolicy" / name
        text = path.read_text()
        assert text.count(before) == 1, name
        path.write_text(text.replace(before, line + before))
    (place / "p.yaml").write_text(POLICY)

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "damonpolicy", "--kernel", "emulated:7.3",
             "--state-dir", str(place / "state"), *words],
            cwd=place, env={**os.environ, "PYTHONPATH": str(place)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, applied = run("apply", "p.yaml")
    assert code == 0, applied
    return run, applied


def test_a_plan_shows_it_and_it_is_written(extended):
    run, applied = extended

    assert f"+ patience: 7s                                        {FILE}" in applied
    read = run("emulate", "read", f"/sys/kernel/mm/damon/admin/kdamonds/0/{FILE}")
    assert read[1].splitlines()[-1] == "7000"


def test_import_says_it(extended):
    run, _ = extended

    assert "{name: s, action: stat, patience: 7s}" in run("import")[1]


def test_its_unit_is_checked(extended, tmp_path):
    run, _ = extended
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(POLICY.replace("7s", "7"))

    code, said = run("validate", str(wrong))

    assert code == 65
    assert "write `7ms`" in said


def test_the_page_for_contributors_names_these_files():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    route = page.partition("**A kernel file**")[2].partition("**A source of numbers**")[0]

    assert "kernel/damon/schema.py" in route
    assert "kernel/damon/view.py" in route
    assert "tests/kernel/damon/test_new_file.py" in route
