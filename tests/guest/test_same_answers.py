"""The comparison of inside/answers.py finds every difference, and no other."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.emulated.machine import versions
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.guest.inside.answers import Player, Scene, compare
from tests.guest.inside.rehearsal import RehearsingMachine
from tests.guest.inside.script import SCENES
from tests.guest.inside.script.words import F, S, T, ask, configured, scene, started, write

SPEC = {"processes": [{"name": "init", "pid": 1, "areas": [{"size": "4MiB"}]}]}
STAT = "/sys/module/damon_stat/parameters/enabled"


class Spoiled(RehearsingMachine):
    """An emulated machine with one thing wrong with it."""

    wrong = {}  # noqa: RUF012 -- each test sets its own

    def write(self, path, text):
        if path == KDAMONDS + self.wrong.get("refuses", "?"):
            raise OSError(errno.EIO, "spoiled", path)
        super().write(path, text)
        if path == KDAMONDS + self.wrong.get("is late", "?") and text.startswith("update"):
            self.wrong = {}
            super().write(path, "clear_schemes_tried_regions")

    def read(self, path):
        if path == KDAMONDS + self.wrong.get("shows", "?"):
            return "spoiled\n"
        text = super().read(path)
        return text.strip() if path == KDAMONDS + self.wrong.get("strips", "?") else text

    def scan(self, path):
        hidden = KDAMONDS + self.wrong.get("hides", "?")
        return [each for each in super().scan(path) if f"{path}/{each.name}" != hidden]

    def mode(self, path):
        return 0o444 if path == KDAMONDS + self.wrong.get("opens", "?") else super().mode(path)


def player(version="7.3", **wrong):
    machine = Spoiled.create(version, spec=SPEC)
    machine.wrong = {name: f"/{path}" for name, path in wrong.items()}
    if machine.exists(STAT):
        machine.write(STAT, "N")
    pids = {
        name: machine.start_process(name, areas=[{"size": "16MiB"}])
        for name in ("one", "two", "three")
    }
    return Player(machine, pids, machine.exit_process, machine.make_cgroup, machine.remove_cgroup)


def answers(*steps, **wrong):
    """Compare a spoiled machine with one that is not, without the words about leaving."""
    found = compare(player(**wrong), player(), [scene("here", *steps)])
    return [line.removeprefix("here: ") for line in found if not line.startswith("here, leaving")]


def test_who_is_late_is_asked_again():
    asked = (*started(), write("0/state", "update_schemes_tried_regions"))

    assert answers(*asked, **{"is late": "0/state"}) == []


@pytest.mark.unmeasured
@pytest.mark.parametrize("version", versions())
def test_a_kernel_answers_as_itself(version):
    """And nothing in the script would hurt a real one."""
    one = player(version)

    assert compare(one, player(version), SCENES) == []
    assert not one.machine.poisoned


@pytest.mark.parametrize("scenes", [[each] for each in SCENES], ids=lambda each: each[0].name)
def test_every_scene_stands_alone(scenes):
    assert compare(player(), player(), scenes) == []


@pytest.mark.parametrize(("real", "emulated"), [("7.3", "6.18"), ("6.18", "6.12")])
def test_kernels_differ(real, emulated):
    found = compare(player(real), player(emulated), SCENES)

    scenes = {line.partition(":")[0] for line in found}
    assert scenes >= {"contexts", "quotas", "starting and stopping", "schemes"}


def test_an_errno_that_differs():
    found = answers(started(), refuses="0/state")

    assert "write 0/state 'on': the answer: real EIO, emulated ok" in found
    assert "write 0/state 'on': 0/state: real `off`, emulated `on`" in found


def test_a_content_that_differs_is_said_once():
    found = answers(started(), write(f"{S}/action", "cold", "stat"), shows=f"{S}/action")

    said = [line for line in found if f"{S}/action: real " in line]
    assert said == [
        f"write {S.removesuffix('/0')}/nr_schemes '1': {S}/action: real `spoiled`, emulated `stat`",
        f"write {S}/action 'cold': {S}/action: real `spoiled`, emulated `cold`",
        f"write {S}/action 'stat': {S}/action: real `spoiled`, emulated `stat`",
        f"at the end: {S}/action: real 600 `spoiled`, emulated 600 `stat`",
    ]


def test_a_newline_that_differs():
    found = answers(write("nr_kdamonds", 1), strips="0/state")

    assert "write nr_kdamonds '1': 0/state: real `off` without a newline, emulated `off`" in found


def test_of_what_is_missing_the_top_is_said():
    found = answers(started(), hides=F)

    assert [line for line in found if "the end" in line] == [
        f"at the end: {F}: real missing, emulated 755 a directory"
    ]


def test_a_mode_that_differs():
    found = answers(started(), opens=f"{T}/0/pid_target")

    assert found == [f"at the end: {T}/0/pid_target: real 444 `0`, emulated 600 `0`"]


def test_what_never_comes():
    never = ask("update_schemes_stats", f"{S}/action", "cold")
    assert answers(started(), never) == [], "both say that it never came"

    found = answers(started(), ask("", f"{S}/action", "stat"), shows=f"{S}/action")

    assert f"ask {S}/action '': the answer: real still 'spoiled', emulated ok" in found


def test_numbers_that_hang_on_time_differ_from_nothing_only():
    tried = ask("update_schemes_stats", f"{S}/stats/nr_tried", "more")

    found = answers(started(), tried, shows=f"{S}/stats/sz_tried")

    # it shows a number, if one that cannot be, from the start on
    assert [line for line in found if f"{S}/stats/sz_tried" in line] == [
        f"write {S.removesuffix('/0')}/nr_schemes '1': {S}/stats/sz_tried: real `more`, emulated `0`"
    ]


def test_the_real_kernel_is_spared_what_wrecks_the_emulated_one():
    """A kdamond on 6.18 that loses its context, and is asked for results."""
    real, emulated = player("6.18"), player("6.18")
    steps = scene("wreck", started(), write("0/contexts/nr_contexts", 0))
    deadly = write("0/state", "update_schemes_stats")

    found = compare(real, emulated, [Scene("wreck", (*steps.steps, *deadly))])

    assert found == []
    assert not real.machine.poisoned
    assert not emulated.machine.poisoned
    assert "update_schemes_stats" not in [each.text for each in real.machine.log]


def test_what_has_wrecked_the_emulated_kernel_ends_the_comparison():
    """By time alone, say: the kdamond of 6.18 that lost its context refreshes its files."""
    real, emulated = player("6.18"), player("6.18")
    steps = scene(
        "wreck", started(), write("0/refresh_ms", 1), write("0/contexts/nr_contexts", 0),
        ask("", "0/refresh_ms", "2"),
    )  # fmt: skip

    found = compare(real, emulated, [steps, *SCENES])

    assert len(found) == 1
    assert "not done, as it would wreck" in found[0]


def test_kdamonds_that_end_late_are_awaited():
    """A real kdamond without processes ends by itself, but not at once."""

    class Late(Spoiled):
        looks = None

        def write(self, path, text):
            super().write(path, text)
            if text == "on":
                self.looks = ["on\n"] * 3

        def read(self, path):
            if path == f"{KDAMONDS}/0/state" and self.looks:
                return self.looks.pop()
            return super().read(path)

    real = player()
    real.machine.__class__ = Late

    found = compare(
        real,
        player(),
        [scene("late", write("nr_kdamonds", 1), configured("vaddr"), write("0/state", "on"))],
    )

    assert found == []
    assert real.machine.looks == []
