"""Laws that hold for every valid policy."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.engine.prepare import prepare
from damonpolicy.kernel.damon.tree import (
    configuration,
    empty_slot,
    slot_numbers,
    slot_tree,
    snapshot,
)
from damonpolicy.plan import saved
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import Managed
from tests.property.strategies import documents, policies, reordered
from tests.world import KERNELS, World, committed, fail_at

pytestmark = [
    pytest.mark.parametrize("kernel", KERNELS),
    pytest.mark.unmeasured,  # thousands of operations get slow by it
]
QUESTIONS = {"update_schemes_stats", "update_schemes_effective_quotas"}


def law(examples):
    """So many of each 200 examples that a profile asks for: each applies whole policies."""
    number = settings.default.max_examples * examples // 200
    return settings(max_examples=number, suppress_health_check=[HealthCheck.too_slow])


@contextlib.contextmanager
def worlds(kernel, number=1):
    made = [World.make(kernel) for _ in range(number)]
    try:
        yield made if number > 1 else made[0]
        assert not any(each.machine.poisoned for each in made)
    finally:
        for each in made:
            each.close()


def planned(world, text):
    """What an apply would do."""
    compiled = world.compile("p", text=text)
    wanted = {**world.managed.policies, **compiled}
    return prepare(world.machine, world.managed, wanted, compiled)[1]


@law(40)
@given(data=st.data())
def test_after_an_apply_nothing_is_left_to_do(kernel, data):
    text = data.draw(policies(kernel))
    with worlds(kernel) as world:
        plan = planned(world, text)
        world.apply("p", text=text)
        written = [(each.path, each.text) for each in world.machine.log]

        assert [(each.path, each.after) for each in plan.operations] == [
            each for each in written if each[1] not in QUESTIONS
        ]
        again = planned(world, text)
        assert (again.operations, again.changes(world.managed)) == ((), False)


@law(30)
@given(data=st.data())
def test_the_way_to_a_policy_does_not_matter(kernel, data):
    first, last = data.draw(policies(kernel)), data.draw(policies(kernel))
    with worlds(kernel, 2) as (straight, around):
        straight.apply("p", text=last)
        around.apply("p", text=first)
        around.apply("p", text=last)

        assert by_name(straight) == by_name(around)
        assert written_settings(straight) == written_settings(around)


@law(30)
@given(data=st.data())
def test_an_error_anywhere_changes_nothing(kernel, data):
    texts = [data.draw(policies(kernel)) for _ in range(data.draw(st.integers(1, 2)))]
    with worlds(kernel) as world:
        for text in texts[:-1]:
            world.apply("p", text=text)
        before, managed = world.look(), world.managed
        plan = planned(world, texts[-1])
        total = len(plan.operations)
        number = data.draw(st.integers(1, max(total, 1)))
        fail_at(world.machine, number)
        with contextlib.suppress(DamonPolicyError):
            world.apply("p", text=texts[-1])
        world.machine.before_write = None

        if total:
            assert (before, managed.policies) == (world.look(), world.managed.policies)
        assert not world.places.journal.exists()


@law(30)
@given(data=st.data())
def test_removal_leaves_nothing(kernel, data):
    with worlds(kernel) as world:
        before = world.look()
        world.apply("p", text=data.draw(policies(kernel)))
        world.remove("p")

        assert before == world.look()
        assert Managed(world.managed.boot_id).slots == world.managed.slots


@law(60)
@given(data=st.data())
def test_compiling_depends_on_what_is_said_only(kernel, data):
    document = data.draw(documents(kernel))
    other = reordered(document, data.draw(st.randoms(use_true_random=False)))
    with worlds(kernel) as world:
        one, same, shuffled = (
            world.compile("p", text=json.dumps(each))["p"] for each in (document, document, other)
        )

    assert one == same
    assert without_source(one) == without_source(shuffled)
    assert CompiledPolicy.from_json(json.loads(json.dumps(one.to_json()))) == one


@law(30)
@given(data=st.data())
def test_a_saved_plan_is_the_plan(kernel, data):
    with worlds(kernel) as world:
        world.apply("p", text=data.draw(policies(kernel)))
        plan = planned(world, data.draw(policies(kernel)))

    read, capabilities = saved.from_json(json.loads(json.dumps(saved.to_json(plan, "c"))), "f")
    assert (plan, "c") == (read, capabilities)


def without_source(policy):
    return {key: value for key, value in policy.to_json().items() if key != "source"}


def by_name(world):
    """What each kdamond's files say and what it runs, wherever its slot is.

    Processes keep their places while they are monitored, so they are compared as a set.
    """
    tree = snapshot(world.machine)
    found = {}
    for slot in slot_numbers(tree):
        own, record = slot_tree(tree, slot), world.managed.slots.get(slot)
        if record is None:
            assert empty_slot(own), f"slot {slot} is nobody's, and not empty"
        else:
            runs = {
                key.replace("contexts/0/", ""): value
                for key, value in committed(world.machine.running(slot)).items()
            }
            found[record.kdamond] = (sorted_targets(configuration(own)), sorted_targets(runs))
    return found


def sorted_targets(tree):
    """Targets apart from the rest, without their numbers.

    What a kdamond runs is what was committed last; obsolete targets are dropped by that.
    """
    rest, targets = {}, {}
    for path, value in tree.items():
        head, found, tail = path.partition("targets/")
        number, _, name = tail.partition("/")
        if found and number.isdecimal():
            targets.setdefault(number, {})[name] = value
        elif number != "nr_targets":
            rest[head + found + tail] = value
    kept = (each for each in targets.values() if each.pop("obsolete_target", "N") == "N")
    return rest, sorted(sorted(each.items()) for each in kept)


def written_settings(world):
    return {path: (each.original, each.written) for path, each in world.managed.settings.items()}
