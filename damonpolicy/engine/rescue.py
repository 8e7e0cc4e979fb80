"""What has to work without the policy language: recovery, the confirm guard, stopping all."""

from __future__ import annotations

import argparse
import time

from damonpolicy.engine.machines import open_machine
from damonpolicy.engine.places import Places, find
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import Session, changing
from damonpolicy.engine.store import Store
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.plan.order import Plan

__all__ = ("run", "stop_all")


def stop_all(session: Session) -> tuple[Plan, bool]:
    """Stop every kdamond of ours and put all settings back."""
    current, plan = prepare(session.machine, session.managed, {}, ())
    return plan, session.carry_out(current, plan, "stop --all")


def run(options: argparse.Namespace) -> list[str]:
    """Do what the options of `recover.main` say; returns lines for the user."""
    machine = open_machine(options.kernel, options.state_dir, options.machine)
    places = find(machine, options.state_dir)
    if options.guard is not None:
        return _guard(machine, places, options.guard, options.deadline)
    with changing(machine, places, wait=True, settle=True) as session:
        lines = list(session.remarks)
        if options.stop_all:
            _, changed = stop_all(session)
            lines.append("everything is stopped" if changed else "nothing is running")
        return lines or ["nothing to recover"]


def _guard(machine: Machine, places: Places, generation: int, deadline: float) -> list[str]:
    """Wait for the deadline of a generation; whoever locks after it rolls back first.

    The guard starts before the first write, so the generation may still have to come.
    """
    store = Store(places)
    while (left := deadline - machine.monotonic()) > 0:
        managed = store.managed(look(machine).boot_id)
        settled = managed.generation == generation and managed.pending is None
        if settled or managed.generation > generation:
            return [f"generation {generation} needs no guard any more"]
        time.sleep(min(left, 1.0))
    with changing(machine, places, wait=True, settle=True) as session:
        return session.remarks or [f"generation {generation} was settled in time"]
