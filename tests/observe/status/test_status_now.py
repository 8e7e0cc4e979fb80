"""Schemes in `status`: the current selection, unrequested numbers, sleepers and why."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from damonpolicy.cli.show.goals import loop_lines, loops
from damonpolicy.engine.state_directory import write_json
from damonpolicy.observe.watermarks import Watch
from damonpolicy.plan.ir import CompiledPolicy, Loop
from damonpolicy.plan.state import Managed
from tests.engine.site import Site, shipped

STAT_OFF = "modules: {damon_stat: {enabled: false}}\n"


def policy(scheme: str, **more: str) -> str:
    lines = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"""\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
{lines}    schemes:
      - {{name: s, {scheme}}}
{STAT_OFF}"""


@pytest.fixture
def applied(site):
    def apply(text):
        site.done("apply", site.policy("p", text))
        return site

    return apply


def scheme_of(site, *options):
    (kdamond,) = site.json("status", *options)["data"]["kdamonds"]
    return kdamond["schemes"][0]


class TestNow:
    def test_what_is_there_now_comes_before_what_was_added_up(self, site, clock):
        site.done("apply", shipped("ksm"), "--set", "cold_for=10s")
        clock.sleep(60)
        scheme = scheme_of(site, "--update")
        lines = site.done("status", "--update").out.splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith("    now "))

        assert 0 < scheme["now"]["passed_bytes"] < scheme["now"]["bytes"]
        assert scheme["statistics"]["sz_tried"] > 10 * scheme["now"]["bytes"]
        assert scheme["now"]["bytes"] <= 2 << 30, "there is no more memory"
        assert " passed the filters" in lines[place]
        assert lines[place + 1].startswith("    added up over all rounds: tried ")

    def test_no_filter_on_pages_is_no_zero_that_passed(self, applied, clock):
        site = applied(
            policy("action: stat, filters: [{reject: {addr: {start: 0x0, end: 0x100000000}}}]")
        )
        clock.sleep(10)
        scheme = scheme_of(site, "--update")

        assert scheme["statistics"]["sz_tried"] > 0
        assert scheme["statistics"]["sz_ops_filter_passed"] is None
        assert scheme["now"]["passed_bytes"] is None
        assert "passed" not in site.done("status", "--update").out

    def test_zeros_that_nobody_asked_for_are_unknown(self, applied):
        site = applied(policy("action: stat, quota: {size: 1MiB, every: 1s}"))
        scheme = scheme_of(site)

        assert set(scheme["statistics"].values()) == {None}
        assert (scheme["now"], scheme["effective_quota"]) == (None, None)
        assert "    not asked: `status --update`" in site.done("status").out.splitlines()
        assert "0B" not in site.done("status").out

    def test_zeros_that_were_asked_for_are_numbers(self, applied):
        site = applied(policy("action: stat, access_pattern: {age: {min: 1h}}"))
        scheme = scheme_of(site, "--update")

        assert scheme["statistics"]["nr_tried"] == 0
        assert scheme["now"] == {"bytes": 0, "regions": 0, "passed_bytes": None}
        assert "    now 0B in 0 regions" in site.done("status", "--update").out

    def test_what_was_asked_for_before_is_said_to_be_old(self, applied, clock):
        site = applied(policy("action: stat"))
        clock.sleep(10)
        site.done("status", "--update")

        assert "    added up over all rounds, when last asked: tried " in site.done("status").out

    def test_a_kernel_that_refreshes_its_files_need_not_be_asked(self, applied):
        site = applied(policy("action: stat, access_pattern: {age: {min: 1h}}", refresh="1s"))

        assert scheme_of(site)["statistics"]["nr_tried"] == 0

    def test_others_are_not_asked(self, site):
        site.world.foreign(on=True)
        site.world.write("0/contexts/0/schemes/nr_schemes", "1")

        assert "    not asked: it is someone else's" in site.done("status", "--update").out

    def test_sizes_are_bytes_where_the_kernel_counts_in_units(self, applied, clock):
        site = applied(policy("action: stat", addr_unit="4096"))
        clock.sleep(10)
        scheme = scheme_of(site, "--update")
        unit = int(
            site.read("/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/stats/sz_tried")
        )

        assert scheme["statistics"]["sz_tried"] == unit * 4096

    @pytest.mark.parametrize("kernel", ["5.18", "6.1", "6.6"])
    def test_a_kernel_without_tried_regions_tells_no_now(self, clock, kernel):
        site = Site(kernel)
        site.done("apply", site.policy("p", policy("action: stat").replace(STAT_OFF, "")))
        clock.sleep(10)
        scheme = scheme_of(site, "--update")

        assert scheme["statistics"]["sz_tried"] > 0
        assert (scheme["now"] is None) == (kernel != "6.6")
        site.close()

    def test_who_would_hold_the_lock_for_long_is_not_asked_what_is_there_now(self, applied):
        site = applied(policy("action: stat", intervals="{sample: 1s, aggregation: 20s}"))
        since = len(site.machine.log)

        assert scheme_of(site, "--update")["now"] is None
        assert not [text for _, text in site.writes(since) if "tried_regions" in text]

    def test_who_does_not_tell_its_regions_has_told_its_numbers(self, applied, clock, monkeypatch):
        site = applied(policy("action: stat"))
        clock.sleep(10)
        machine = type(site.machine)
        write = machine.write

        def refuse(self, path, text):
            if text == "update_schemes_tried_regions":
                raise OSError(5, "Input/output error", path)
            write(self, path, text)

        monkeypatch.setattr(machine, "write", refuse)
        scheme = scheme_of(site, "--update")

        assert scheme["now"] is None
        assert scheme["statistics"]["sz_tried"] > 0


class TestAsleep:
    MARKS = (
        "action: stat, watermarks: {{metric: free_mem_rate, every: 5s, high: {}, mid: {}, low: {}}}"
    )

    @pytest.mark.parametrize(
        ("marks", "asleep", "words"),
        [
            (("30%", "20%", "10%"), True,
             "asleep: 39.4% of memory is free, above high 30% (awake below 20%)"),
            (("60%", "50%", "40%"), True,
             "asleep: 39.4% of memory is free, below low 40% (awake from there up)"),
            (("60%", "50%", "10%"), False,
             "awake: 39.4% of memory is free, below mid 50% (asleep above 60% and below 10%)"),
            (("60%", "30%", "10%"), None,
             "asleep or awake, as before: 39.4% of memory is free, from mid 30% to high 60%"),
        ],
    )  # fmt: skip
    def test_a_scheme_says_whether_it_sleeps_and_why(self, applied, marks, asleep, words):
        site = applied(policy(self.MARKS.format(*marks)))
        shown = scheme_of(site)["watermarks"]

        assert (shown["asleep"], shown["why"]) == (asleep, words)
        assert (shown["free_permil"], shown["high_permil"]) == (394, int(marks[0][:-1]) * 10)
        assert f"    {words}" in site.done("status").out.splitlines()

    def test_without_watermarks_nothing_is_said(self, applied):
        site = applied(policy("action: stat"))

        assert scheme_of(site)["watermarks"] is None
        assert "asleep" not in site.done("status").out

    def test_free_memory_that_nobody_tells_is_unknown(self):
        watch = Watch(None, 500, 400, 200)

        assert watch.asleep is None
        assert watch.words == "asleep or awake: how much memory is free is not known"

    def test_a_module_says_so_too_and_what_it_did(self, site):
        marks = "wmarks_high: 30%, wmarks_mid: 20%, wmarks_low: 10%"
        site.done("apply", site.policy("m", f"""\
version: 1
name: m
modules: {{damon_stat: {{enabled: false}}, damon_reclaim: {{enabled: true, {marks}}}}}
"""))  # fmt: skip
        words = "asleep: 39.4% of memory is free, above high 30% (awake below 20%)"
        (module,) = site.json("status")["data"]["module_status"]

        assert (module["module"], module["watermarks"]["why"]) == ("damon_reclaim", words)
        assert module["figures"]["nr_quota_exceeds"] == 0
        lines = site.done("status").out.splitlines()
        assert f"  damon_reclaim: {words}" in lines
        assert (
            "  damon_reclaim: tried 0B in 0 regions, reclaimed 0B, quota exceeded 0 times" in lines
        )


FED = """\
version: 1
name: tuned
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: stat
        quota:
          size: 1MiB
          every: 1s
          goals: [{metric: user_input, target: 200, from: {file: /run/score}}]
"""


class TestServed:
    @pytest.fixture
    def fed(self, site):
        site.world.write("/sys/module/damon_stat/parameters/enabled", "N")
        site.world.apply("tuned", text=FED)
        return site

    def serve(self, site, **more):
        data = {
            "pid": os.getpid(), "start": 0, "paths": ["/etc/d"], "owner": "service:/etc/d",
            "reload": None, "reloads": {}, "following": "", "feeds": {}, "loops": {},
            "observing": "", "schemes": {}, "errors": {},
            "drift": {"files": 0, "first": [], "repairs": 0, "cannot_repair": ""}, **more,
        }  # fmt: skip
        write_json(site.world.places.service, data)

    def test_the_number_that_the_kernel_was_given_is_the_one_in_its_file(self, fed):
        """What the service saw may be half a minute old."""
        seen = {"goals": [{"current": 15000, "score": 750_000, "why": None}],
                "score": 750_000, "trend": None}  # fmt: skip
        self.serve(fed, schemes={"tuned/k/s": seen})
        fed.world.write("0/contexts/0/schemes/0/quotas/goals/0/current_value", "90")

        for options in ((), ("--update",)):
            (goal,) = scheme_of(fed, *options)["goals"]
            assert (goal["current"], goal["score"]) == (90, 4500)

    def test_a_goal_that_is_not_fed_has_no_score(self, fed):
        self.serve(fed, feeds={"tuned/k/contexts/0/schemes/0/quotas/goals/0": "no such file"})
        scheme = scheme_of(fed, "--update")
        lines = fed.done("status").out.splitlines()

        assert (scheme["goals"][0]["current"], scheme["goals"][0]["score"]) == (None, None)
        assert scheme["score"] is None
        said = "    goal user_input: 200 (not fed, so it counts as reached: no such file)"
        assert any(line.startswith(said) for line in lines)
        assert "  not fed: tuned/k/s goal 0: no such file" in lines

    def test_a_goal_without_its_service_is_not_fed(self, fed):
        goal = scheme_of(fed)["goals"][0]

        assert (goal["score"], goal["fed"]) == (None, False)
        assert goal["why"] == "no service runs that would feed it"

    def test_a_document_is_plain(self, fed):
        assert json.dumps(fed.json("status", "--update")["data"])


USED = "{metric: node_mem_used_bp, node: 0, target: 50%}"
FREE = "{metric: node_mem_free_bp, node: 0, target: 99%}"


@pytest.mark.parametrize("goals", [(USED, FREE), (FREE, USED)])
def test_of_several_goals_the_one_with_the_highest_score_decides(applied, clock, goals):
    """As the kernel takes them (mm/damon/core.c: damos_quota_score())."""
    quota = "action: stat, quota: {{size: 100MiB, every: 1s, goals: [{}]}}"
    site = applied(policy(quota.format(", ".join(goals))))
    clock.sleep(60)
    both = scheme_of(site, "--update")
    lines = site.done("status", "--update").out.splitlines()
    place = lines.index("    of several goals the one with the highest score decides")
    site.done("apply", site.policy("p", policy(quota.format(FREE))))
    clock.sleep(60)
    alone = scheme_of(site, "--update")

    scores = [each["score"] for each in both["goals"]]
    assert alone["score"] == min(scores) < 10_000 < max(scores) == both["score"]
    assert both["effective_quota"] < 1 << 20, "what is exceeded closes it, whatever is not reached"
    assert alone["effective_quota"] == 100 << 20, "which opens it alone"
    assert all(line.startswith("    goal node_mem_") for line in lines[place - 2 : place])
    assert "of several goals" not in site.done("status", "--update").out


LOOP = Loop("pace", "", "/proc/sys/vm/swappiness", {"law": "approach", "target": 100}, (), 10**6)
MOVED = CompiledPolicy("tuned", "service:/etc/d", (), {LOOP.path: "60"}, loops=(LOOP,))
SERVICE = {"running": True, "loops": {}, "errors": {"tuned/pace": 0.25}}


@pytest.mark.parametrize(
    ("service", "law", "said"),
    [
        (SERVICE, {}, ", measures 25% too little"),
        ({**SERVICE, "errors": {"tuned/pace": -0.25}}, {}, ", measures 25% too much"),
        ({**SERVICE, "errors": {"tuned/pace": 0.0}}, {}, ", at its target"),
        (SERVICE, {"law": "follow"}, ", on its way: 25% from where it goes"),
        ({**SERVICE, "errors": {}}, {}, ""),
        ({**SERVICE, "loops": {"tuned/pace": "no number"}}, {}, ", stands still: no number"),
        ({**SERVICE, "running": False}, {},
         ", stands still: no service runs that would move it"),
        (None, {}, ", stands still: no service runs that would move it"),
    ],
)  # fmt: skip
def test_where_a_loop_is_and_how_far_from_right(service, law, said):
    own = law or LOOP.law
    policy = replace(MOVED, loops=(replace(LOOP, law=own),))
    found = loops(Managed("", policies={"tuned": policy}), service)

    assert list(loop_lines(found)) == [f"tuned/pace: /proc/sys/vm/swappiness is 60{said}"]


def test_a_loop_of_a_kdamond_names_it():
    loop = replace(LOOP, kdamond="k", path="contexts/0/schemes/0/quotas/bytes")
    policy = replace(MOVED, loops=(loop,))
    (found,) = loops(Managed("", policies={"tuned": policy}), SERVICE)

    assert (found["kdamond"], found["value"]) == ("tuned/k", None)
    assert next(loop_lines([{**found, "value": "5", "why": None, "error": None}])) == (
        "tuned/pace: contexts/0/schemes/0/quotas/bytes of tuned/k is 5"
    )
