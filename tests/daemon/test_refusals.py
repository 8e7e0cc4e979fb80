"""Refusals by the kernel in the service are reported with the policy's line."""

import pytest

from damonpolicy.base import log
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import PAGES, settings
from tests.engine.site import refuses

KDAMOND = """\
version: 1
name: k
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    schemes:
      - name: cold
        action: pageout
        access_pattern: {access_rate: {max: 0%}, age: {min: 2m}}
        quota:
          size: 100MiB
          every: 1s
"""
QUOTA = f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/bytes"
SETTING, SIZE = 5, 12
"""The lines of what is refused."""


@pytest.fixture
def events():
    """What is logged."""
    told = []
    log.set_sink(lambda level, event, values: told.append((level, event, values)))
    yield told
    log._sinks.clear()


@pytest.fixture
def served(desk):
    """A desk with two policies that are in force."""
    desk.put("a.yaml", settings("a", pages=200))
    desk.put("k.yaml", KDAMOND)
    assert desk.rest().kind == "applied"
    return desk


def told(desk, events):
    """Return the one place that an outcome and the log tell, and the line of the log."""
    outcome = desk.rest()
    assert outcome.kind == "failed"
    (found,) = outcome.diagnostics
    assert found.severity == "error"
    ((level, values),) = [(level, values) for level, event, values in events if event == "finding"]
    assert level == "warning"
    assert (values["code"], values["place"]) == ("DP0509", str(found.span))
    return values


@pytest.mark.parametrize(
    ("name", "path", "line"), [("a.yaml", PAGES, SETTING), ("k.yaml", QUOTA, SIZE)]
)
def test_a_refused_write_names_its_line(served, events, monkeypatch, name, path, line):
    before = [served.read(PAGES), served.read(QUOTA)]
    served.put("a.yaml", settings("a", pages=300))
    served.put("k.yaml", KDAMOND.replace("100MiB", "200MiB"))
    with monkeypatch.context() as patch:
        refuses(patch, path)
        values = told(served, events)

    assert values["place"].startswith(f"{served.directory}/{name}:{line}:")
    assert path.removeprefix(f"{KDAMONDS}/") in values["text"]
    assert [served.read(PAGES), served.read(QUOTA)] == before, "all of it or nothing"
    served.world.machine.sleep(60)
    assert served.rest().kind == "applied", "it is tried again"


def test_a_refused_start_names_its_kdamond(desk, events, monkeypatch):
    desk.put("k.yaml", KDAMOND)
    refuses(monkeypatch, f"{KDAMONDS}/0/state")

    assert told(desk, events)["place"].startswith(f"{desk.directory}/k.yaml:4:")
