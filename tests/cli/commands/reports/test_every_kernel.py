"""Every report of what runs, on every emulated kernel."""

from __future__ import annotations

import json

import pytest

from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.emulated.machine import versions
from tests.policies import LOOK, NO_STAT

POLICY = LOOK.replace(NO_STAT, "modules: {damon_stat: {enabled: false}}\n")
BEFORE_TRIED_REGIONS = ("5.18", "6.1")


@pytest.fixture(params=versions())
def kernel(request, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DAMONPOLICY_KERNEL", f"emulated:{request.param}")
    (tmp_path / "look.yaml").write_text(POLICY)
    assert cli("apply", "look.yaml").code == 0
    return request.param


def test_every_report_finds_its_own_source(kernel, cli):
    for name in REPORTS:
        done = cli("report", name, "--format", "json")
        assert done.code == 0, (name, done.out)
        assert json.loads(done.out)["data"]


def test_regions_are_asked_for_where_the_kernel_shows_them(kernel, cli):
    words = ("--source", "regions", "--format", "json")
    lacks = kernel in BEFORE_TRIED_REGIONS
    for name in REPORTS:
        done = cli("report", name, *words)
        assert done.code == (69 if lacks else 0), (name, done.out)
        assert ("Linux 6.2 has it" in done.out) is lacks
    done = cli("record", "--count", "1", *words)
    assert done.code == (69 if lacks else 0), done.out
