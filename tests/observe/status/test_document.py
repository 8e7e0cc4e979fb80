"""Running kdamonds, their owners and drift, as text and as JSON."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.status.document import Drift, drift, kdamonds
from damonpolicy.plan.facts import Accesses
from damonpolicy.plan.machine_state import retrieve
from tests.engine.site import KSM_RUN, SETTING, Site, shipped

FIRST = "emulated kernel 7.3"
CONTEXT = "contexts/0"


def found(site):
    managed = site.world.managed
    return drift(retrieve(site.machine, managed.settings), managed)


def test_nothing_is_applied(site):
    outcome = site.done("status")
    first, *rest = outcome.out.splitlines()

    assert first.startswith(FIRST)
    assert rest == ["no policy is applied", "", "kernel modules that run a kdamond: damon_stat"]
    assert site.json("status")["data"] == {
        "generation": None,
        "confirmed": None,
        "policies": {},
        "kdamonds": [],
        "waiting": [],
        "lacking": [],
        "settings": [],
        "modules": ["damon_stat"],
        "module_status": [
            {
                "module": "damon_stat",
                "watermarks": None,
                "figures": {"estimated_memory_bandwidth": 0},
                "idle_ms_percentiles": [0] * 101,
            }
        ],
        "free_slots": 0,
        "loops": [],
        "service": None,
    }


def test_a_policy_that_is_named_is_all_that_is_shown(site):
    site.done("apply", shipped("ksm"))
    site.done("apply", shipped("proactive-reclaim"))
    site.world.write("2/contexts/nr_contexts", "1")
    path = "/proc/sys/vm/swappiness"
    site.done("apply", site.policy("swap", SETTING.format(name="swap", path=path, value=70)))
    ksm, every = (site.json("status", *each)["data"] for each in (["ksm"], []))
    (kdamond,) = (each["name"] for each in ksm["kdamonds"])

    assert list(ksm["policies"]) == ["ksm"]
    assert kdamond.startswith("ksm/")
    assert all("ksm" in each["users"] for each in ksm["settings"])
    assert len(ksm["settings"]) == len(every["settings"]) - 1
    assert len(every["kdamonds"]) == 3
    assert (
        site.done("status", "ksm").out.splitlines()[1]
        == "generation 3: ksm, proactive-reclaim, swap"
    )
    assert site.json("status", kdamond)["data"]["kdamonds"] == ksm["kdamonds"]
    named = site.json("status", "ksm", "proactive-reclaim", "swap")["data"]
    assert named["policies"] == every["policies"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kms", "no policy `kms` is applied"),
        ("ksm/vm", "no kdamond `ksm/vm` is applied"),
    ],
)
def test_a_name_that_nothing_has(site, name, message):
    site.done("apply", shipped("ksm"))
    outcome = site.run("status", name)

    assert outcome.code == ExitCode.USAGE
    assert message in outcome.err
    assert "hint: did you mean `ksm" in outcome.err


def test_everything_that_runs(site):
    site.done("apply", shipped("ksm"))
    site.done("apply", shipped("proactive-reclaim"))
    site.world.write("2/contexts/nr_contexts", "1")
    lines = site.done("status").out.splitlines()

    assert lines[1] == "generation 2: ksm, proactive-reclaim"
    for expected in (
        "  paddr: 2GiB in 3 regions",
        "  scheme cold: stat",
        "    reject what is not anon; allow memcg /machine.slice and 2 below it; the rest is rejected",
        "  scheme idle: pageout, 128MiB every 1s",
        f"  {KSM_RUN}: 1 (was 0, for ksm)",
        "  /sys/module/damon_stat/parameters/enabled: N (was Y, for ksm, proactive-reclaim)",
        "kdamond someone else's: off (slot 2)",
    ):
        assert expected in lines
    data = site.json("status")["data"]
    assert (data["generation"], data["confirmed"], data["free_slots"]) == (2, 2, 5)
    assert [(each["name"], each["owner"], each["state"]) for each in data["kdamonds"]] == [
        ("ksm/vms", "ours", "on"),
        ("proactive-reclaim/system", "ours", "on"),
        (None, "foreign", "off"),
    ]
    assert [each["pid"] for each in data["kdamonds"]] == [
        *(record.pid for _, record in sorted(site.world.managed.slots.items())),
        None,
    ]


def test_processes_are_shown_by_pid_and_name(site):
    for pid in range(3000, 3005):
        site.machine.start_process("worker", pid=pid, areas=[{"size": "4MiB"}])
    site.done("apply", shipped("monitor"), "--set", "program=worker")

    shown = ", ".join(f"pid {pid} (worker)" for pid in range(3000, 3004))
    assert f"  vaddr: {shown} and 1 more" in site.done("status").out


def test_numbers_are_asked_for_on_demand(site, monkeypatch):
    clock = [site.machine.monotonic()]
    monkeypatch.setattr(type(site.machine), "monotonic", lambda self: clock[0])
    site.done("apply", shipped("monitor"))
    clock[0] += 60

    def tried():
        return [
            scheme["statistics"]["nr_tried"]
            for scheme in site.json("status")["data"]["kdamonds"][0]["schemes"]
        ]

    before = len(site.machine.log)
    assert tried() == [None, None, None], "zeros that nobody asked for are no numbers"
    assert len(site.machine.log) == before, "looking asks the kernel nothing"
    site.done("status", "--update")
    assert site.writes(before) == [
        ("0/state", "update_schemes_stats"),
        ("0/state", "update_schemes_effective_quotas"),
        ("0/state", "update_schemes_stats"),
        ("0/state", "update_schemes_tried_regions"),
        ("0/state", "clear_schemes_tried_regions"),
    ]
    assert sum(tried()) > 0


def test_asking_leaves_others_and_the_stopped_alone(site):
    site.world.foreign(on=True)
    site.done("apply", shipped("monitor"))
    site.world.write("1/state", "off")
    before = len(site.machine.log)
    site.done("status", "--update")

    assert site.writes(before) == []


def test_what_someone_restarted_is_asked_nothing(site):
    site.done("apply", shipped("monitor"))
    site.world.write("0/state", "off")
    site.world.write("0/state", "on")
    before = len(site.machine.log)
    site.done("status", "--update")

    assert site.writes(before) == []


def test_a_kdamond_that_does_not_answer(site, monkeypatch):
    site.done("apply", shipped("monitor"))
    machine = type(site.machine)
    write = machine.write

    def refuse(self, path, text):
        if text == "update_schemes_stats":
            raise OSError(5, "Input/output error", path)
        write(self, path, text)

    monkeypatch.setattr(machine, "write", refuse)
    outcome = site.run("status", "--update")

    assert outcome.code == ExitCode.BUSY
    assert "the kdamond of slot 0 does not answer" in outcome.err


class TestDrift:
    @pytest.fixture
    def applied(self, site):
        site.done("apply", shipped("proactive-reclaim"))
        assert found(site) == []
        return site

    def test_a_staged_value(self, applied):
        path = f"{CONTEXT}/schemes/0/quotas/bytes"
        applied.world.write(f"0/{path}", "4096")
        outcome = applied.run("diff")

        assert found(applied) == [
            Drift("proactive-reclaim/system (slot 0)", path, str(128 << 20), "4096")
        ]
        assert outcome.code == ExitCode.CHANGES
        assert outcome.out.splitlines()[1:] == [
            "proactive-reclaim/system (slot 0)",
            f"  ~ {path}: committed `{128 << 20}`, found `4096`",
        ]
        document = applied.json("diff")
        assert (document["ok"], document["exit_code"]) == (True, 2)
        assert document["data"]["drift"] == [
            {
                "where": "proactive-reclaim/system (slot 0)",
                "path": path,
                "committed": str(128 << 20),
                "found": "4096",
                "said": "",
            }
        ]
        warned = applied.done("status").err
        assert "warning[DP0614]: 1 files are not what was committed last" in warned

    def test_what_is_there_too_much(self, applied):
        applied.world.write(f"0/{CONTEXT}/schemes/0/filters/nr_filters", "1")
        paths = {each.path: (each.committed, each.found) for each in found(applied)}

        assert paths[f"{CONTEXT}/schemes/0/filters/nr_filters"] == ("0", "1")
        assert paths[f"{CONTEXT}/schemes/0/filters/0/type"] == ("no such file", "anon")

    def test_what_is_missing(self, applied):
        applied.world.write(f"0/{CONTEXT}/schemes/nr_schemes", "0")
        paths = {each.path: (each.committed, each.found) for each in found(applied)}

        assert paths[f"{CONTEXT}/schemes/nr_schemes"] == ("1", "0")
        assert paths[f"{CONTEXT}/schemes/0/action"] == ("pageout", "no such file")

    def test_a_stopped_kdamond(self, applied):
        applied.world.write("0/state", "off")

        assert [(d.path, d.committed, d.found) for d in found(applied)] == [("state", "on", "off")]

    def test_another_thread(self, applied):
        applied.world.write("0/state", "off")
        applied.world.write("0/state", "on")
        now = applied.read(f"{KDAMONDS}/0/pid")
        before = applied.world.managed.slots[0].pid

        assert [(d.path, d.committed, d.found) for d in found(applied)] == [
            ("pid", str(before), now)
        ]

    def test_a_slot_that_is_gone(self, applied):
        applied.world.write("0/state", "off")
        applied.world.write("nr_kdamonds", "0")

        assert [(d.path, d.found) for d in found(applied)] == [("", "no such slot")]

    def test_a_setting(self, applied):
        applied.done("apply", applied.setting("a", 1))
        applied.machine.write(KSM_RUN, "2")

        assert found(applied) == [Drift("settings", KSM_RUN, "1", "2")]
        shown = applied.json("status")["data"]["settings"]
        assert {each["path"]: each["drifted"] for each in shown}[KSM_RUN] is True

    def test_what_the_kernel_changes_by_itself_is_none(self, site):
        site.done("apply", shipped("memory-tiering"))
        for word in ("update_schemes_stats", "update_tuned_intervals",
                     "update_schemes_effective_quotas"):  # fmt: skip
            site.world.write("0/state", word)

        assert found(site) == []
        assert site.done("diff").out.endswith("No drift.\n")


def test_a_reboot_leaves_nothing_to_drift(site):
    site.done("apply", shipped("ksm"))
    site.machine.reboot()

    assert site.done("diff").out.endswith("No drift.\n")
    managed = Store(site.places).managed(look(site.machine).boot_id)
    assert kdamonds(retrieve(site.machine), managed) == []


def test_quotas_of_bytes_and_time(site):
    site.world.foreign(on=False)
    for name, value in (("bytes", "4096"), ("ms", "10"), ("reset_interval_ms", "1500")):
        site.world.write(f"0/{CONTEXT}/schemes/0/quotas/{name}", value)

    assert "scheme 0: stat, 4KiB and 10ms every 1s500ms" in site.done("status").out


@pytest.mark.parametrize(
    ("kernel", "more", "shown"),
    [
        ("damon-next", "accesses: {kind: write, cpus: 0-1}", "writes of CPUs 0-1"),
        ("damon-next", "accesses: {kind: read, threads: [811]}", "reads of thread 811"),
        ("damon-next", "accesses: {primitive: page_fault}", "all, by page faults"),
        ("damon-next-2025", "accesses: {cpus: 2}", "all of CPU 2"),
    ],
)
def test_which_accesses_count(kernel, more, shown):
    site = Site(kernel)
    text = f"""\
version: 1
name: p
kdamonds: [{{name: k, ops: paddr, targets: [{{system_ram: true}}], {more}}}]
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""
    site.done("apply", site.policy("p", text))

    assert f"  accesses: {shown}" in site.done("status").out.splitlines()
    assert Accesses(**site.json("status")["data"]["kdamonds"][0]["accesses"]).text == shown
    site.close()


def test_a_paused_kdamond(site):
    text = """\
version: 1
name: p
kdamonds: [{name: k, ops: paddr, targets: [{system_ram: true}], paused: true}]
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""
    site.done("apply", site.policy("p", text))

    assert "kdamond p/k: on, paused (slot 0, pid 1202)" in site.done("status").out
