"""Policies of DAMON's modules, and writes by hand beside them."""

from __future__ import annotations

from damonpolicy.kernel.damon.modules import parameter_path
from tests.world import STAT_OFF

KDAMONDS = """
version: 1
name: kdamonds
kdamonds:
  - {name: k, ops: paddr, targets: [{system_ram: true}]}
modules:
  damon_stat: {enabled: false}
"""
RECLAIM, LRU_SORT, STAT = "damon_reclaim", "damon_lru_sort", "damon_stat"


def policy(name="p", module=RECLAIM, **parameters):
    """A policy of one module, with DAMON_STAT out of the way."""
    given = "".join(f"    {key}: {value}\n" for key, value in parameters.items())
    return (
        f"version: 1\nname: {name}\nmodules:\n  damon_stat: {{enabled: false}}\n"
        f"  {module}:\n{given}"
    )


def running(**parameters):
    return policy(enabled="true", **parameters)


def read(world, name, module=RECLAIM):
    return world.machine.read(parameter_path(module, name)).strip()


def by_hand(world, name, value, module=RECLAIM):
    world.machine.write(parameter_path(module, name), value)


def switched_on_by_hand(world):
    """Someone else lets the module run."""
    if world.machine.exists(STAT_OFF):
        world.write(STAT_OFF, "N")
    by_hand(world, "enabled", "Y")
