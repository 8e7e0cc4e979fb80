"""What a service says of itself is a file, too: one that says anything else is named."""

from __future__ import annotations

import os

import pytest

from damonpolicy.engine.places import write_json
from damonpolicy.errors import ExitCode

GOOD = {
    "pid": os.getpid(),
    "start": 0,
    "paths": ["/etc/damonpolicy/policies.d"],
    "owner": "service:/etc",
    "reload": {"result": "invalid", "at": 1.5, "digest": "d", "message": "", "findings": "x\ny"},
    "following": "",
    "feeds": {"p/k/s goal 0": "no number"},
    "loops": {},
    "observing": "",
    "drift": {"files": 1, "repairs": 0, "cannot_repair": "", "first": [
        {"where": "p/k", "path": "pid", "committed": "1", "found": "2"}]},
    "schemes": {},
}  # fmt: skip


def test_what_a_service_says_is_shown(site):
    write_json(site.places.service, GOOD)
    said = site.done("status").out

    assert "last reload: invalid" in said
    assert "not fed: p/k/s goal 0: no number" in said


@pytest.mark.parametrize("key", sorted(GOOD.keys() - {"owner"}))
@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": [1]}])
def test_anything_else_is_a_damaged_file(site, key, value):
    if key == "reload" and value is None:
        return  # nothing was read yet
    write_json(site.places.service, {**GOOD, key: value})
    done = site.done("status")  # which shows all the rest
    good = key == "schemes" and isinstance(value, dict)

    assert ("service.json` is damaged: " in done.err) is not good


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

    assert "has ended without a word" in site.run("doctor").out


def test_the_doctor_says_nothing_of_a_service_that_is_well(site):
    write_json(site.places.service, {**GOOD, "reload": None, "feeds": {}})

    assert "service" not in site.run("doctor").out
