"""The screen of ``damonpolicy top``; the only module that needs textual."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.units import UnitError, approximate_bytes
from damonpolicy.observe.status import live_view
from damonpolicy.observe.status.live_view import HEAD, Scene, Sort, View, heading, old, scheme_lines

__all__ = ("Top",)

_MOST = 300
"""Rows of regions; sort, filter or zoom to see others."""

_HELP = """\
t s r a d  sort by temperature, size, access rate, age, address;
           the same key again turns it round
/          filter: size>=2MiB rate<5% age>2m temperature>0 scheme=cold
esc        no filter
+ -        zoom into the addresses around the selected region, and out
0          all addresses
tab        next kdamond (shift+tab: the one before)
p          pause, and go on
l          look now, even if asking holds DAMON's lock for long
q          quit

The strip shows access rates along the addresses: blank is unknown,
`.` is not accessed, `@` accessed in every sample. Temperature is
weighted as the policy says, red from 50 %, blue where idle.
"""


class _Help(ModalScreen[None]):
    CSS = """
    _Help { align: center middle; }
    #help { width: auto; max-width: 100%; height: auto; padding: 1 2; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "back"),
    ]

    def compose(self) -> ComposeResult:
        yield Static(_HELP, id="help", markup=False)


class Top(App[None]):
    """The screen: a new scene every ``interval`` seconds; ``look`` reads that of a slot.

    ``look`` runs in a thread: it may wait for DAMON's lock, for long if it is told to be
    ``willing``.
    """

    CSS = """
    #heading { height: auto; max-height: 2; text-style: bold; }
    #schemes { height: auto; max-height: 30%; overflow-y: auto; }
    #state { height: auto; max-height: 2; color: $text-muted; }
    #why { height: 1; display: none; color: $warning; }
    #strip { height: 1; }
    #regions { height: 1fr; }
    #filter { display: none; border: none; height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("t", "sort('temperature')", "sort", key_display="tsrad"),
        *(
            Binding(key, f"sort('{name}')", name, show=False)
            for key, name in zip("srad", ("size", "rate", "age", "address"), strict=True)
        ),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("plus,equals_sign", "zoom(0.25)", "zoom", key_display="+-0"),
        Binding("minus", "zoom(4)", "out", show=False),
        Binding("0", "whole", "all", show=False),
        Binding("tab", "next(1)", "next", priority=True),
        Binding("shift+tab", "next(-1)", "before", show=False, priority=True),
        Binding("p", "pause", "pause"),
        Binding("l", "look", "look", show=False),
        Binding("escape", "clear", "clear", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        look: Callable[..., Scene],
        interval: float,
        slot: int | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__()
        self._look = look
        self._interval = interval
        self._slot = slot
        self._clock = clock
        self._looking = False
        self._said = ""
        self.scene = Scene()
        self.view = View()
        self.paused = False
        self.interrupted = False
        self.rows = live_view.rows((), self.view, _MOST)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("looking", id="heading", markup=False)
            yield Static("", id="schemes", markup=False)
            yield Static("", id="state", markup=False)
            yield Static("", id="why", markup=False)
            yield Static("", id="strip", markup=False)
            yield DataTable[Text](id="regions", cursor_type="row", zebra_stripes=True)
            yield Input(id="filter", placeholder="size>=2MiB rate<5% age>2m", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        self._table.focus()
        self.set_interval(self._interval, self._tick)
        self._refresh()
        # signals end the loop cleanly: textual draws at SIGCONT, which needs the loop
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._interrupt)

    def _interrupt(self) -> None:
        self.interrupted = True
        self.exit()

    def on_resize(self) -> None:
        self._draw()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#regions", DataTable)

    def _tick(self) -> None:
        if not self.paused:
            self._refresh()
        else:
            self._draw_state()

    def action_look(self) -> None:
        """Look now, even if that holds DAMON's lock for long."""
        self._refresh(willing=True)

    def _refresh(self, *, willing: bool = False) -> None:
        """Read a scene in the background, unless that is already under way."""
        if not self._looking:
            self._looking = True
            self.run_worker(self._read(willing=willing), group="look")

    async def _read(self, *, willing: bool) -> None:
        slot = self._slot
        try:
            self.scene = await asyncio.to_thread(self._look, slot, willing=willing)
            self._said = ""
        except (DamonPolicyError, OSError) as error:
            self._said = visible(str(error), kept="")
        finally:
            self._looking = False
        if slot == self._slot:
            self._slot = self.scene.slot
        else:
            self._refresh()  # the user has moved on to another kdamond meanwhile
        self._draw()

    def _draw(self) -> None:
        scene = self.scene
        self.rows = live_view.rows(scene.series, self.view, _MOST)
        self.query_one("#heading", Static).update(heading(scene))
        self.query_one("#schemes", Static).update("\n".join(scheme_lines(scene)))
        self._draw_state()
        drawn = live_view.strip(scene.series, self.view, max(self.size.width, 1))
        self.query_one("#strip", Static).update(drawn)
        self._draw_rows()

    def _draw_state(self) -> None:
        view = self.view
        order = f"by {view.sort}" + (" (turned round)" if view.reverse else "")
        parts = [old(self.scene, self._clock()), self.rows.text, order]
        if view.zoom is not None:
            low, high = view.zoom
            parts.append(f"zoom {low:#x} to {high:#x} ({approximate_bytes(high - low)})")
        parts = (["PAUSED"] if self.paused else []) + parts
        self.query_one("#state", Static).update(self._said or ", ".join(parts))
        why = self.query_one("#why", Static)
        why.display = bool(self.scene.why)
        why.update(visible(self.scene.why, kept=""))

    def _draw_rows(self) -> None:
        table = self._table
        row = table.cursor_row
        table.clear(columns=True)
        ascending = (self.view.sort == "address") != self.view.reverse
        arrow = "▲" if ascending else "▼"
        heads = [f"{name} {arrow}" if name == self.view.sort else name for name in HEAD]
        cells = [heads, *(each.cells for each in self.rows.shown)]
        for column, (name, head) in enumerate(zip(HEAD, heads, strict=True)):
            # a width of its own lets a table be drawn once: it need not be measured first
            width = max(len(row[column]) for row in cells)
            table.add_column(Text(head, justify="right"), key=name, width=width)
        for each in self.rows.shown:
            style = "red" if each.percent >= 50 else "yellow" if each.percent else "blue"
            table.add_row(
                *(
                    Text(cell, style=style if name == "temperature" else "", justify="right")
                    for name, cell in zip(HEAD, each.cells, strict=True)
                )
            )
        if self.rows.shown:
            table.move_cursor(row=min(max(row, 0), len(self.rows.shown) - 1))

    def action_sort(self, sort: Sort) -> None:
        """Sort by a column; the same again turns it round."""
        self.view = self.view.sorted_by(sort)
        self._draw()

    def action_zoom(self, factor: float) -> None:
        """Look at a part of the addresses around the selected region, or at more of them."""
        row = self._table.cursor_row
        if not 0 <= row < len(self.rows.shown):
            return
        each = self.rows.shown[row]
        whole = live_view.span(self.scene.series)
        middle = (each.start + each.end) // 2
        if self.view.zoom is not None and factor > 1:
            middle = sum(self.view.zoom) // 2
        self.view = live_view.zoomed(self.view, whole, middle, factor)
        self._draw()

    def action_whole(self) -> None:
        """Look at all addresses."""
        self.view = replace(self.view, zoom=None)
        self._draw()

    def action_pause(self) -> None:
        """Look no more, or go on; numbers on the screen grow old meanwhile."""
        self.paused = not self.paused
        if not self.paused:
            self._refresh()
        self._draw_state()

    def action_next(self, step: int) -> None:
        """Look at another kdamond."""
        slots = [each["slot"] for each in self.scene.kdamonds]
        if not slots:
            return
        place = slots.index(self._slot) if self._slot in slots else 0
        self._slot = slots[(place + step) % len(slots)]
        self.view = replace(self.view, zoom=None)
        self._refresh()

    def action_help(self) -> None:
        """Explain the keys."""
        self.push_screen(_Help())

    def action_filter(self) -> None:
        """Ask for a filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_clear(self) -> None:
        """Leave the filter, and show all."""
        self.query_one("#filter", Input).value = ""
        self._filter("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take a filter, or say what is wrong with it."""
        self._filter(event.value)

    def _filter(self, text: str) -> None:
        field = self.query_one("#filter", Input)
        try:
            conditions = live_view.read_filter(text)
        except UnitError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.notify(f"{error.message}{hint}", severity="error", markup=False)
            return
        self.view = replace(self.view, conditions=conditions)
        field.display = bool(conditions)
        self._table.focus()
        self._draw()
