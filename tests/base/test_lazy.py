from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import ClassVar

import pytest

from damonpolicy.base.lazy import dataclass


def classes():
    @dataclass(frozen=True, slots=True)
    class Base:
        number: int
        items: list[int] = field(default_factory=list)
        shared: ClassVar[int] = 7

        def twice(self) -> int:
            return 2 * self.number

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        word: str = "none"

    return Base, Derived


def test_methods_are_generated_with_the_first_instance():
    base, _ = classes()
    before = vars(base)["__init__"]

    made = base(1)

    assert vars(base)["__init__"] is not before
    assert (made.number, made.items, made.twice(), base.shared) == (1, [], 2, 7)
    assert "Base(number=1, items=[])" in repr(made)


def test_fields_are_known_without_an_instance():
    _, derived = classes()

    assert dataclasses.is_dataclass(derived)
    assert [each.name for each in dataclasses.fields(derived)] == ["number", "items", "word"]
    assert derived.__match_args__ == ("number", "items", "word")


def test_a_frozen_one_cannot_be_changed_and_can_be_compared_hashed_and_replaced():
    base, derived = classes()
    made = derived(1, word="a")

    with pytest.raises(dataclasses.FrozenInstanceError):
        made.number = 2
    assert made == derived(1, word="a")
    assert made != derived(1, word="b")
    assert made != base(1)
    assert dataclasses.replace(made, number=3) == derived(3, word="a")
    assert dataclasses.asdict(made) == {"number": 1, "items": [], "word": "a"}
    assert hash(derived(1, (), "a")) == hash(derived(1, (), "a"))


def test_slots_leave_no_room_for_other_attributes():
    _, derived = classes()

    assert not hasattr(derived(1), "__dict__")
    assert derived.__slots__ == ("word",)
    assert derived.__qualname__ == "classes.<locals>.Derived"


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    file: str = "f"


def test_one_with_slots_is_copied_and_pickled():
    made = Place(3)

    assert copy.copy(made) == made
    assert copy.deepcopy([made]) == [made]
    assert pickle.loads(pickle.dumps(made)) == made


def test_threads_may_make_the_first_instance_at_once():
    base, _ = classes()
    ready = threading.Barrier(8)

    def make(number):
        ready.wait()
        return base(number)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(8))) == [base(number) for number in range(8)]


def test_a_subclass_with_its_own_init_reaches_the_generated_one():
    base, _ = classes()

    class Own(base):
        def __init__(self) -> None:
            base.__init__(self, 5)

    assert Own().number == 5
    assert Own().number == 5


def test_one_that_may_be_changed_keeps_defaults_and_order():
    @dataclass(order=True)
    class Counted:
        count: int = 3

    made = Counted()
    made.count += 1

    assert made == Counted(4)
    assert Counted(1) < Counted(2)
    assert Counted.count == 3


def test_arguments_are_checked_as_usual():
    base, _ = classes()

    with pytest.raises(TypeError, match="number"):
        base()
    with pytest.raises(TypeError, match="unknown"):
        base(1, unknown=2)
