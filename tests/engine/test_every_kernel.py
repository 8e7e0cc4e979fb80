"""Shipped policies on every kernel that can be emulated: applied as written, or refused."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import versions
from tests.engine.site import Site, shipped
from tests.world import CHANGED, SHIPPED


@pytest.fixture(params=versions())
def site(request):
    made = Site(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy(site, name):
    site.machine.start_process("mysqld", areas=[{"size": "64MiB"}])
    before = site.world.look()
    validated = site.run("validate", shipped(name))
    outcome = site.run("apply", shipped(name))

    assert outcome.code == validated.code
    if outcome.code:
        assert outcome.code == 69
        assert "this kernel lacks" in outcome.err
        assert "  hint: Linux " in outcome.err
        assert site.world.look() == before
        return
    assert "No changes." in site.done("apply", shipped(name)).out
    [(key, value)] = CHANGED[name].items()
    site.done("apply", shipped(name), "--set", f"{key}={value}")
    site.done("rollback")
    assert site.run("diff").code == 0
    assert "No changes." in site.done("apply", shipped(name)).out
    site.done("remove", name)
    left = site.world.look()
    assert {path: value for path, value in left.items() if path in before} == {
        **before, "nr_kdamonds": left["nr_kdamonds"],
    }  # fmt: skip
    assert not [path for path in left if path.endswith("/runs") and left[path]]


def test_features_say_yes_or_no(site):
    listed = site.done("features").out.splitlines()[1:]

    assert {line.split()[0] for line in listed} == {"yes", "no"}
