"""`damonpolicy.testing`, as tests of users' own policies use it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from damonpolicy import testing
from damonpolicy.testing import DamonPolicyError, Host, check
from tests.conftest import ROOT
from tests.docs.console import BLOCK

RECLAIM = ROOT / "policies/proactive-reclaim.yaml"
AGE = "contexts/0/schemes/0/access_pattern/age/min"
STAT = "/sys/module/damon_stat/parameters/enabled"
WRONG = """\
version: 1
name: wrong
kdamonds:
  - name: a
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: s, action: pageout}]
"""
ABSENT = """\
version: 1
name: absent
kdamonds:
  - {name: a, ops: vaddr, targets: [{process: {name: nobody}}]}
modules: {damon_stat: {enabled: false}}
"""


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
def test_a_shipped_policy_is_right_on_the_kernels_that_have_its_features(kernel):
    checked = check(RECLAIM, {"idle_for": "10s"}, kernel=kernel)

    assert checked.errors == ()
    assert checked.files["proactive-reclaim/system"]["contexts/0/schemes/0/action"] == "pageout"
    assert checked.files["proactive-reclaim/system"][AGE] == "100"
    assert checked.settings == ({STAT: "N"} if kernel != "6.12" else {})


def test_a_kernel_without_the_features_is_told():
    errors = check(RECLAIM, kernel="6.6").errors

    assert errors
    assert all(each.unsupported for each in errors)


def test_a_mistake_has_its_code_and_place():
    checked = check(WRONG)

    (error,) = checked.errors
    assert (error.code, str(error.span)) == ("DP0217", "<policy>:7:33")
    assert checked.files == {}


def test_a_variable_that_no_policy_has_is_an_error():
    assert [each.code for each in check(RECLAIM, {"idel_for": "1m"}).errors] == ["DP0025"]


def test_a_missing_file_is_an_error(tmp_path):
    assert [each.code for each in check(tmp_path / "none.yaml").errors] == ["DP0001"]


def test_an_applied_policy_is_on_the_machine(tmp_path):
    host = Host("7.3", tmp_path)

    host.apply(RECLAIM, {"idle_for": "10s"})

    files = host.files("proactive-reclaim/system")
    assert files["state"] == "on"
    assert files[AGE] == check(RECLAIM, {"idle_for": "10s"}).files["proactive-reclaim/system"][AGE]
    assert host.read(STAT) == "N"


def test_a_second_apply_changes_the_first(tmp_path):
    host = Host("7.3", tmp_path)
    host.apply(RECLAIM)
    before = host.files("proactive-reclaim/system")

    host.apply(RECLAIM, {"idle_for": "1s"})
    host.apply(RECLAIM, {"idle_for": "1s"})

    after = host.files("proactive-reclaim/system")
    assert {path for path in before if before[path] != after[path]} == {AGE}


def test_a_refused_policy_says_why_and_leaves_the_machine(tmp_path):
    host = Host("7.3", tmp_path)

    with pytest.raises(DamonPolicyError) as refused:
        host.apply(ABSENT)

    (note,) = refused.value.__notes__
    assert "absent" not in note.partition(":")[0]
    assert "<policy>:4:" in note
    assert host.read(STAT) == "Y"
    with pytest.raises(KeyError):
        host.files("absent/a")


def test_a_machine_file_brings_its_processes(tmp_path):
    machine = tmp_path / "db.toml"
    machine.write_text('[[processes]]\nname = "nobody"\n[[processes.areas]]\nsize = "4MiB"\n')
    host = Host("7.3", tmp_path / "state", machine)

    host.apply(ABSENT)

    assert host.files("absent/a")["contexts/0/operations"] == "vaddr"


def test_the_page_for_users_passes_its_own_tests(tmp_path):
    page = (ROOT / "docs/how-to/test-your-policies.md").read_text(encoding="utf-8")
    for _, name, text in BLOCK.findall(page):
        if name:
            (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cold.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_page_names_all_that_is_public():
    page = (ROOT / "docs/how-to/test-your-policies.md").read_text(encoding="utf-8")

    assert [name for name in testing.__all__ if f"`{name}" not in page] == []
