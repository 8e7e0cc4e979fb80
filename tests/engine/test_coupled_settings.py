"""Settings that the kernel changes by itself, when another one is written or by rounding."""

from __future__ import annotations

import itertools

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from tests.engine.site import KSM_RUN, Site
from tests.world import World, fail_at

KSM = "/sys/kernel/mm/ksm"
ADVISOR, PAGES = f"{KSM}/advisor_mode", f"{KSM}/pages_to_scan"
LRU = "/sys/kernel/mm/lru_gen/enabled"
PACE = f"""
version: 1
name: pace
settings:
  {PAGES}: 1000
  {KSM_RUN}: 1
  {ADVISOR}: none
"""


@pytest.fixture
def advised():
    """KSM's advisor is on, and has chosen a number of pages."""
    world = World.make("7.3")
    world.write(ADVISOR, "scan-time")
    yield world
    assert not world.machine.poisoned
    world.close()


def test_the_advisor_is_switched_off_first_and_on_last(advised):
    before = advised.look()
    advised.apply("pace", text=PACE)
    assert advised.machine.read(PAGES).strip() == "1000"
    advised.remove("pace")

    assert advised.look() == before


def test_an_error_anywhere_leaves_the_advisor_as_it_was(advised):
    before = advised.look()
    for number in itertools.count(1):
        seen = fail_at(advised.machine, number)
        try:
            advised.apply("pace", text=PACE)
        except DamonPolicyError as error:
            assert error.exit_code == ExitCode.ROLLED_BACK
        advised.machine.before_write = None
        if seen["writes"] < number:
            break
        assert advised.look() == before
    assert number == 4


def test_who_switches_the_advisor_on_again_keeps_the_pages(advised):
    advised.apply("pace", text=PACE)
    advised.write(ADVISOR, "scan-time")
    advised.remove("pace")

    assert advised.machine.read(ADVISOR).split() == ["none", "[scan-time]"]
    assert advised.machine.read(KSM_RUN).strip() == "0"


def test_an_advisor_that_is_on_already_is_changed_without_its_pages(advised):
    text = PACE.replace(f"  {PAGES}: 1000\n", "").replace("none", "scan-time")
    before = advised.look()
    advised.apply("pace", text=text)
    advised.remove("pace")

    assert advised.look() == before


def test_a_value_that_reads_back_otherwise_is_put_back_at_once(monkeypatch):
    """A CPU may lack what one of the parts needs, and the file then shows the others."""
    world = World.make("7.3")
    before = world.look()

    original = type(world.machine).write

    def write(self, path, text):
        original(self, path, "0x0001" if text == "0x0005" else text)

    monkeypatch.setattr(type(world.machine), "write", write)
    text = f"version: 1\nname: p\nsettings: {{{LRU}: 0x0005}}\n"
    with pytest.raises(DamonPolicyError, match="reads back as `0x0001`; everything is as it was"):
        world.apply("p", text=text)

    assert world.look() == before
    assert not world.places.journal.exists()
    world.close()


def test_words_for_true_and_false_are_the_same():
    site = Site("7.3")
    path = "/sys/kernel/mm/numa/demotion_enabled"
    site.done("apply", site.setting("a", 1, path))
    assert site.read(path) == "true"
    site.done("apply", site.setting("a", "true", path))
    assert len(site.writes()) == 1
    site.done("stop", "--all")
    assert site.read(path) == "false"
    site.close()
