"""The screen of `top`, driven by keys without a terminal."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual.widgets import DataTable, Input, Static

from damonpolicy.base.errors import Busy
from damonpolicy.cli.show.top_screen import Top
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from damonpolicy.observe.status.live_view import Scene
from damonpolicy.plan.facts import Target
from tests.observe.status.test_live_view import KDAMOND

TENTH = Intervals(5_000, 100_000)
PAGE = 4096
NOW = 10**18
REGIONS = Regions.of(
    [0, 8 * PAGE, 12 * PAGE], [8 * PAGE, 12 * PAGE, 64 * PAGE], [0, 20, 5], [9, 3, 1]
)


class Machine:
    """Two kdamonds; counts how often it is looked at."""

    def __init__(self):
        self.looks = []
        self.error = None

    def look(self, slot, *, willing=False):
        self.looks.append(slot)
        self.willing = willing
        if self.error:
            raise self.error
        kdamonds = [{**KDAMOND, "slot": 0, "name": "ksm/a"}, {**KDAMOND, "slot": 3}]
        source = Source("ksm/a", "cold" if slot != 3 else "other", targets=(Target(1),))
        found = series_of(source, [(NOW, NOW, TENTH, REGIONS)])
        return Scene(kdamonds, slot or 0, [found])


class Screen:
    """What a test sees and does."""

    def __init__(self, app, pilot):
        self.app, self._pilot = app, pilot

    async def press(self, *keys):
        await self._pilot.press(*keys)
        await self.settle()

    async def settle(self):
        await self.app.workers.wait_for_complete()
        await self._pilot.pause()

    def text(self, name):
        return str(self.app.query_one(f"#{name}", Static).render())

    def column(self, number):
        table = self.app.query_one("#regions", DataTable)
        return [str(table.get_row_at(row)[number]) for row in range(table.row_count)]

    @property
    def addresses(self):
        return [int(each, 16) // PAGE for each in self.column(0)]


def shown(test, *, size=(80, 24), machine=None, interval=3600.0, slot=None):
    """Run a test on a screen of that size, once the first scene is there."""
    held = machine or Machine()

    async def run():
        app = Top(held.look, interval, slot, lambda: NOW)
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await test(screen, held)

    asyncio.run(run())


def test_a_kdamond_its_schemes_and_its_regions():
    async def test(screen, _):
        assert screen.text("heading").startswith("[1/2] ksm/a: on, slot 0, vaddr")
        assert "cold: stat, now 256KiB, tried 4KiB" in screen.text("schemes")
        assert "goal some_mem_psi_us: 250us of 500us" in screen.text("schemes")
        assert screen.text("state") == "fresh, 3 regions, 256KiB, by temperature"
        assert screen.addresses == [8, 12, 0]
        assert screen.column(2) == ["100%", "25%", "0%"]
        strip = screen.text("strip")
        assert len(strip) == 80
        # 10 columns of 64 pages at 0 %, 5 at 100 %, the rest at 25 %
        assert (strip.count("."), strip.count("@"), strip.count("-")) == (10, 5, 65)

    shown(test)


def test_keys_sort():
    async def test(screen, _):
        for key, expected in (
            ("s", [12, 0, 8]), ("s", [8, 0, 12]), ("d", [0, 8, 12]), ("a", [0, 8, 12]),
            ("r", [8, 12, 0]), ("t", [8, 12, 0]), ("t", [0, 12, 8]),
        ):  # fmt: skip
            await screen.press(key)
            assert screen.addresses == expected, key
        assert "by temperature (turned round)" in screen.text("state")

    shown(test)


def test_a_filter_is_typed_and_taken_back():
    async def test(screen, _):
        await screen.press("slash", *"rate>0%", "enter")
        assert screen.addresses == [8, 12]
        assert "2 regions, 224KiB (of 3, 256KiB)" in screen.text("state")
        assert screen.app.query_one("#filter", Input).display
        await screen.press("escape")
        assert screen.addresses == [8, 12, 0]
        assert not screen.app.query_one("#filter", Input).display

    shown(test)


def test_a_filter_that_says_nothing_is_refused_and_can_be_mended():
    async def test(screen, _):
        await screen.press("slash", *"size>2", "enter")
        assert screen.addresses == [8, 12, 0]
        assert "has no unit" in next(iter(screen.app._notifications)).message
        await screen.press(*"KiB", "enter")
        assert screen.addresses == [8, 12, 0]

    shown(test)


def test_letters_of_a_filter_are_no_keys():
    async def test(screen, _):
        await screen.press("slash", *"qpsd", "escape")
        assert screen.app.is_running
        assert not screen.app.paused

    shown(test)


def test_zoom_in_and_out_again():
    async def test(screen, _):
        # the hottest region is selected: pages 8 to 12, so 16 pages around page 10
        await screen.press("plus")
        assert "zoom 0x2000 to 0x12000 (64KiB)" in screen.text("state")
        await screen.press("plus")
        assert screen.addresses == [8]
        await screen.press("minus")
        assert "zoom 0x2000 to 0x12000 (64KiB)" in screen.text("state")
        await screen.press("0")
        assert "zoom" not in screen.text("state")
        assert screen.addresses == [8, 12, 0]

    shown(test)


def test_zoom_needs_a_region():
    async def test(screen, _):
        await screen.press("slash", *"nothing", "enter", "plus")
        assert screen.addresses == []
        assert screen.app.view.zoom is None

    shown(test)


def test_pause_looks_no_more_until_asked():
    async def test(screen, machine):
        await screen.press("p")
        assert screen.text("state").startswith("PAUSED, ")
        before = len(machine.looks)
        screen.app._tick()
        await screen.settle()
        assert len(machine.looks) == before
        await screen.press("l")
        assert len(machine.looks) == before + 1
        assert machine.willing, "who asks can wait"
        await screen.press("p")
        assert len(machine.looks) == before + 2
        screen.app._tick()
        await screen.settle()
        assert len(machine.looks) == before + 3
        assert not machine.willing

    shown(test)


def test_another_kdamond():
    async def test(screen, machine):
        await screen.press("tab")
        assert screen.text("heading").startswith("[2/2] ksm/vms")
        assert screen.column(6) == ["other"] * 3
        await screen.press("tab")
        assert screen.text("heading").startswith("[1/2] ksm/a")
        await screen.press("shift+tab")
        assert screen.text("heading").startswith("[2/2]")
        assert machine.looks == [None, 3, 0, 3]

    shown(test)


def test_a_kdamond_is_chosen_while_another_is_read():
    async def test(screen, machine):
        screen.app.action_look()
        screen.app.action_next(1)
        await screen.settle()
        await screen.settle()
        assert screen.text("heading").startswith("[2/2]")

    shown(test)


def test_the_selected_row_stays():
    async def test(screen, _):
        await screen.press("down", "l")
        assert screen.app.query_one("#regions", DataTable).cursor_row == 1

    shown(test)


def test_an_error_is_shown_and_the_last_numbers_stay():
    async def test(screen, machine):
        machine.error = Busy("the kernel is busy")
        await screen.press("l")
        assert screen.text("state") == "the kernel is busy"
        assert screen.addresses == [8, 12, 0]
        machine.error = OSError(5, "no such thing")
        await screen.press("l")
        assert "no such thing" in screen.text("state")
        machine.error = None
        await screen.press("l")
        assert screen.text("state").startswith("fresh")

    shown(test)


def test_no_kdamond_runs():
    class Empty(Machine):
        def look(self, slot, *, willing=False):
            return Scene()

    async def test(screen, _):
        assert screen.text("heading") == "no kdamond runs"
        assert screen.text("state") == "no regions, 0 regions, 0B, by temperature"
        await screen.press("tab", "plus", "minus", "s")
        assert screen.addresses == []

    shown(test, machine=Empty())


def test_help_explains_the_keys():
    async def test(screen, _):
        await screen.press("question_mark")
        text = str(screen.app.screen.query_one("#help", Static).render())
        assert "filter: size>=2MiB" in text
        await screen.press("escape")
        assert screen.app.screen.query("#regions")

    shown(test)


def test_q_quits():
    async def test(screen, _):
        await screen.press("q")
        assert screen.app.return_code == 0

    shown(test)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)])
def test_every_size_of_terminal_shows_regions(size):
    async def test(screen, _):
        table = screen.app.query_one("#regions", DataTable)
        assert table.size.height >= 3
        assert len(screen.text("strip")) == size[0]

    shown(test, size=size)


def test_names_are_text():
    class Odd(Machine):
        def look(self, slot, *, willing=False):
            scene = super().look(slot, willing=willing)
            name = "[bold]x\x1b[2J"
            source = replace(scene.series[0].source, scheme=name)
            odd = [{**KDAMOND, "slot": 0, "name": name}]
            return replace(scene, kdamonds=odd, series=[replace(scene.series[0], source=source)])

    async def test(screen, _):
        assert screen.text("heading").startswith("[1/1] [bold]x\\x1b[2J: on")
        assert screen.column(6) == ["[bold]x\\x1b[2J"] * 3

    shown(test, machine=Odd())


def test_why_there_is_nothing_newer_is_shown():
    class Slow(Machine):
        def look(self, slot, *, willing=False):
            return replace(super().look(slot), why="asking takes long")

    async def test(screen, _):
        assert screen.text("why") == "asking takes long"
        assert screen.app.query_one("#why").display

    shown(test, machine=Slow())
