"""A damaged record of the service is named."""

from __future__ import annotations

import copy
import os
from types import NoneType

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine.state_directory import write_json

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    schemes:
      - name: s
        action: pageout
        quota:
          size: 1MiB
          every: 1s
          goals: [{metric: node_mem_free_bp, node: 1, target: 5%}]
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""
GOOD = {
    "pid": os.getpid(),
    "start": 0,
    "paths": ["/etc/damonpolicy/policies.d"],
    "owner": "service:/etc",
    "reload": {"result": "invalid", "at": 1.5, "digest": "d", "message": "", "findings": "x\ny"},
    "held": ["p.yaml"],
    "jobs": {"tune": {"failures": 2, "trouble": "it broke"}},
    "following": "",
    "not_followed": [{"kdamond": "p/v", "pids": [77], "more": 3, "why": "it has only just started"}],
    "feeds": {"p/k/s goal 0": "no number"},
    "loops": {},
    "observing": "",
    "drift": {"files": 1, "repairs": 0, "cannot_repair": "", "first": [
        {"where": "p/k", "path": "pid", "committed": "1", "found": "2", "said": "", "gone": False}]},
    "asked": [],
    "unasked": ["p/k"],
    "schemes": {"p/k/s": {"goals": [{"current": 250, "score": 5_000, "why": None}], "score": 5_000,
                          "trend": "steady"}},
}  # fmt: skip
TAKES = {
    "owner": {dict, float, int, list, str, NoneType},  # nobody shows it
    "reload": {dict, NoneType},
    "at": {int, float},
    "current": {int, NoneType},
    "score": {int, NoneType},
    "why": {str, NoneType},
    "trend": {str, NoneType},
}
"""What else may stand in a place than what is like ours."""
LATER = ("asked", "held", "jobs", "not_followed", "unasked")


def paths(data, path=()):
    """Yield where everything is, at any depth."""
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*path, key))


def changed(path, value):
    """Return what a service says, with another value in one place."""
    made = copy.deepcopy(GOOD)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


@pytest.fixture
def applied(site):
    site.done("apply", site.policy("p", POLICY))
    return site


def test_what_a_service_says_is_shown(applied):
    write_json(applied.places.service, GOOD)
    said = applied.done("status").out

    assert "last reload: invalid" in said
    assert "waits for p.yaml" in said
    assert "not fed: p/k/s goal 0: no number" in said
    assert "not yet followed: p/v: pid 77 and 3 more: it has only just started" in said
    assert "the job `tune` fails, and is tried again (2 failures): it broke" in said
    assert "2.5% of 5% (score 50%)" in said


def test_what_an_older_service_does_not_say_is_not_missed(applied):
    write_json(
        applied.places.service, {key: value for key, value in GOOD.items() if key not in LATER}
    )
    done = applied.done("status")

    assert "not fed: p/k/s goal 0: no number" in done.out
    assert done.err == ""


@pytest.mark.parametrize("path", list(paths(GOOD)), ids=lambda path: ".".join(map(str, path)))
def test_anything_else_is_a_damaged_file(applied, path):
    good = GOOD
    for key in path:
        good = good[key]
    for value in (None, 1, 1.5, "x", [1], {"a": [1]}):
        write_json(applied.places.service, changed(path, value))
        done = applied.done("status")  # which shows all the rest
        if type(value) not in TAKES.get(path[-1], {type(good)}):
            assert "service.json` is damaged: " in done.err, value


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("value", [None, 1, "x", [1], [[1]], {"a": [1]}])
def test_doctor_looks_at_all_else(applied, value):
    write_json(applied.places.service, changed(("paths",), value))

    assert applied.run("doctor").code in (ExitCode.OK, ExitCode.FAILED)


def test_the_doctor_tells_of_a_service_in_trouble(site):
    write_json(site.places.service, GOOD)
    told = site.run("doctor")

    assert told.code == ExitCode.FAILED
    assert (
        "problem: the service's last reload of /etc/damonpolicy/policies.d ended as invalid"
        in told.out
    )
    assert "problem: the service does not feed p/k/s goal 0: no number" in told.out


def test_the_doctor_tells_of_a_service_that_is_gone(site):
    write_json(site.places.service, {**GOOD, "pid": 1 << 22})

    assert "has ended unexpectedly" in site.run("doctor").out


def test_the_doctor_says_nothing_of_a_service_that_is_well(site):
    write_json(site.places.service, {**GOOD, "reload": None, "feeds": {}})

    assert "service" not in site.run("doctor").out
