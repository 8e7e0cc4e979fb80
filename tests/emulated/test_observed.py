"""Emulated kernels give the answers of real ones, line by line.

Each listing is the record of one script on one kernel. Its writes are named in words only
where they come in groups; `COMMITTED` and `STARTED` say which they were. What is passed
over, and why, is in `SKIPPED`; a line of no known kind fails.
"""

import re
from pathlib import Path

import pytest

OBSERVED = Path(__file__).resolve().parents[1] / "guest" / "observed"
RELEASES = {
    ".".join(path.stem.removeprefix("behaviour-").split(".")[:2]): path.stem.removeprefix(
        "behaviour-"
    )
    for path in OBSERVED.glob("behaviour-*.txt")
}
C = "0/contexts/0"
A = f"{C}/monitoring_attrs"
S = f"{C}/schemes/0"
T = f"{C}/targets/0"
F = f"{S}/filters"
G = f"{S}/quotas/goals"
BIG = 1 << 63

SKIPPED = {
    "comments and headings": r"#|==|admin/nr_kdamonds|nr_kdamonds=1|tree lines",
    "addresses and sizes of regions": r"\s+[0-9a-f]{4,}-[0-9a-f]{4,} |\s+\d+ regions, ",
    "sizes and times of statistics": r"\s+(bytes with|stats |update_schemes_(tried|stats)|biggest)",
    "sizes after a commit": r"\s+tried_regions after commit",
    "times of commands": r"\s+off took",
    "kernel messages": r"\[",
    "explanations": r"\s+(\(the state words|state on pid)",
}
UNCERTAIN = {
    "no targets": ("6.12", "7.1", "7.2"),  # it ends by itself, and was looked at before that
    "goal: node 99": ("6.16", "6.17", "6.18", "6.19"),  # taken back before the quota's window
}
"""Lines whose outcome hung on time, and on which kernels."""

COMMITTED = {
    "nr_regions min > max": [(f"{A}/nr_regions/min", 2000)],
    "nr_regions min < 3": [(f"{A}/nr_regions/min", 2)],
    "sample_us > aggr_us": [(f"{A}/intervals/sample_us", 200000)],
    "aggr_us > update_us": [(f"{A}/intervals/update_us", 1000)],
    "operations changed vaddr->paddr": [(f"{C}/operations", "paddr")],
    "pid_target gone (999999)": [(f"{T}/pid_target", 999999)],
    "quota weights 1001": [(f"{S}/quotas/weights/sz_permil", 1001)],
    "sz min > max": [(f"{S}/access_pattern/sz/min", BIG)],
    "nr_accesses min > max": [(f"{S}/access_pattern/nr_accesses/min", BIG)],
    "watermarks metric free_mem_rate, high<mid<low": [(f"{S}/watermarks/metric", "free_mem_rate")],
    "bogus addr_unit 0": [(f"{C}/addr_unit", 0)],
    "bogus addr_unit 3": [(f"{C}/addr_unit", 3)],
    "goal: target_value 0": [(f"{G}/nr_goals", 1), (f"{G}/0/target_value", 0)],
    "goal: node 99": [
        (f"{G}/0/target_metric", "node_mem_used_bp"), (f"{G}/0/target_value", 10),
        (f"{G}/0/nid", 99),
    ],
    "goal: 0 goals again": [(f"{G}/nr_goals", 0)],
    "filter memcg with no such path": [
        (f"{F}/nr_filters", 1), (f"{F}/0/type", "memcg"), (f"{F}/0/memcg_path", "/no/such"),
    ],
    "filter addr start > end": [
        (f"{F}/0/type", "addr"), (f"{F}/0/addr_start", 8192), (f"{F}/0/addr_end", 4096),
    ],
    "filter hugepage_size min > max": [
        (f"{F}/0/type", "hugepage_size"), (f"{F}/0/min", 2), (f"{F}/0/max", 1),
    ],
    "filter target 7": [(f"{F}/0/type", "target"), (f"{F}/0/damon_target_idx", 7)],
    "0 filters": [(f"{F}/nr_filters", 0)],
    "core_filters with an ops type (anon)": [
        (f"{S}/core_filters/nr_filters", 1), (f"{S}/core_filters/0/type", "anon"),
    ],
    "2 schemes online": [
        (f"{S}/core_filters/nr_filters", 0), (f"{C}/schemes/nr_schemes", 2),
        (f"{C}/schemes/1/action", "stat"),
    ],
    "0 targets, commit": [(f"{C}/targets/nr_targets", 0)],
    "nr_* while on (re-create = wiped to defaults)": [
        (f"{C}/targets/nr_targets", 1), (f"{C}/schemes/nr_schemes", 1),
        ("0/contexts/nr_contexts", 1),
    ],
    "nr_contexts=0 while on": [("0/contexts/nr_contexts", 0)],
}  # fmt: skip

STARTED = {
    "plain": [],
    "nr_regions min > max": COMMITTED["nr_regions min > max"],
    "nr_regions min 2": COMMITTED["nr_regions min < 3"],
    "nr_regions 0 0": [(f"{A}/nr_regions/min", 0), (f"{A}/nr_regions/max", 0)],
    "sample_us > aggr_us": COMMITTED["sample_us > aggr_us"],
    "sample_us 0": [(f"{A}/intervals/sample_us", 0)],
    "all intervals 0": [(f"{A}/intervals/{name}_us", 0) for name in ("sample", "aggr", "update")],
    "aggr_us > update_us": COMMITTED["aggr_us > update_us"],
    "no targets": [(f"{C}/targets/nr_targets", 0)],
    "no such pid": [(f"{T}/pid_target", 999999)],
    "pid 0": [(f"{T}/pid_target", 0)],
    "no contexts": [("0/contexts/nr_contexts", 0)],
    "no schemes": [(f"{C}/schemes/nr_schemes", 0)],
    "paddr, 1 target without regions": [(f"{C}/operations", "paddr")],
    "paddr, no targets": [(f"{C}/operations", "paddr"), (f"{C}/targets/nr_targets", 0)],
    "paddr, 2 targets": [(f"{C}/operations", "paddr"), (f"{C}/targets/nr_targets", 2)],
    "fvaddr, no region": [(f"{C}/operations", "fvaddr")],
    "region start > end": [
        (f"{T}/regions/nr_regions", 1), (f"{T}/regions/0/start", 8192), (f"{T}/regions/0/end", 0),
    ],
    "regions overlapping": [
        (f"{T}/regions/nr_regions", 2), (f"{T}/regions/0/end", 8192),
        (f"{T}/regions/1/start", 4096), (f"{T}/regions/1/end", 12288),
    ],
    "quota weights only": COMMITTED["quota weights 1001"],
    "memcg filter no such path": COMMITTED["filter memcg with no such path"],
    "addr filter start > end": [
        (f"{F}/nr_filters", 1), *COMMITTED["filter addr start > end"],
    ],
    "goal target_value 0": [(f"{G}/nr_goals", 1)],
    "migrate_cold without target_nid (vaddr)": [(f"{S}/action", "migrate_cold")],
    "migrate_cold target_nid 99 (paddr)": [
        (f"{C}/operations", "paddr"), (f"{S}/action", "migrate_cold"), (f"{S}/target_nid", 99),
    ],
    "lru_prio with vaddr": [(f"{S}/action", "lru_prio")],
    "hugepage with paddr": [(f"{C}/operations", "paddr"), (f"{S}/action", "hugepage")],
    "addr_unit 3 vaddr": [(f"{C}/addr_unit", 3)],
    "addr_unit 4096 paddr": [(f"{C}/operations", "paddr"), (f"{C}/addr_unit", 4096)],
    "intervals_goal min>max": [
        (f"{A}/intervals/intervals_goal/{name}", value)
        for name, value in (
            ("access_bp", 400), ("aggrs", 3), ("min_sample_us", 9000), ("max_sample_us", 5000),
        )
    ],
}  # fmt: skip


class Replay:
    """Replays one listing; each method is one kind of line, found by its pattern."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.section = ""
        self.count = 0
        self.skipped = dict.fromkeys(SKIPPED, 0)
        self.stat = kernel.read("/sys/module/damon_stat/parameters/enabled")
        self.one_of_each()

    def one_of_each(self):
        """Make the tree that the script began with: one of each directory, all defaults."""
        self.kernel.writes(
            ("nr_kdamonds", 1), ("0/contexts/nr_contexts", 1),
            (f"{C}/targets/nr_targets", 1), (f"{T}/regions/nr_regions", 1),
            (f"{C}/schemes/nr_schemes", 1), (f"{F}/nr_filters", 1), (f"{G}/nr_goals", 1),
            (f"{S}/core_filters/nr_filters", 1), (f"{S}/ops_filters/nr_filters", 1),
            (f"{A}/probes/nr_probes", 1), (f"{A}/probes/0/filters/nr_filters", 1),
        )  # fmt: skip

    def run(self, lines):
        for line in lines:
            if line.startswith("== "):
                self.section = line
                self.begin()
            for pattern, replay in self.KINDS:
                found = re.fullmatch(pattern, line)
                if found:
                    replay(self, line, *found.groups())
                    self.count += 1
                    break
            else:
                kinds = [kind for kind, pattern in SKIPPED.items() if re.match(pattern, line)]
                assert kinds, f"a line of no known kind: {line}"
                self.skipped[kinds[0]] += 1

    def begin(self):
        """Prepare for the lines below a heading."""
        if "errno" in self.section:
            self.one_of_each()
        elif "vaddr run" in self.section:
            self.kernel.write("nr_kdamonds", 1)
            self.kernel.context()
            self.kernel.write("/sys/module/damon_stat/parameters/enabled", self.stat)

    def uncertain(self, name):
        return self.kernel.machine.profile.version in UNCERTAIN.get(name, ())

    def words(self, line, path, taken, refused):
        if path == "../../state":
            path = "0/state"
        else:
            path = f"{C}/{path}"
        for word in taken.split():
            assert self.kernel.write(path, word) == "ok", (line, word)
        for word in refused.split():
            assert self.kernel.write(path, word) == "EINVAL", (line, word)

    def no_words(self, line, path):
        assert self.kernel.read(f"{C}/{path}") == "ENOENT", line

    def absent(self, line, path):
        assert self.kernel.read(f"0/{path}") == "ENOENT", line

    def written(self, line, path, text, answer, value):
        text = eval(text)  # a literal of our own listing
        assert answer.removeprefix("open:") == self.kernel.write(path, text), line
        assert value == self.kernel.read(path), line

    def long_write(self, line, size, path, taken):
        assert self.kernel.write(f"{F}/0/{path}", "x" * int(size)) == "EIO", line
        assert self.kernel.read(f"{F}/0/{path}") == "x" * (int(taken) - 1)

    def committed(self, line, name, write, commit, after, restored, again):
        [(path, value)] = COMMITTED[name]
        before = self.kernel.read(path)
        assert write == self.kernel.write(path, value), line
        assert commit == self.kernel.command("commit"), line
        assert after == self.kernel.state(), line
        assert restored == self.kernel.write(path, before), line
        command = "commit" if again == "commit again" else "on"
        assert self.kernel.command(command) == "ok", line

    def committed_all(self, line, name, answers, commit, before, after):
        if self.uncertain(name):
            return
        assert before == self.kernel.state(), line
        got = self.kernel.writes(*COMMITTED[name])
        assert [each.removeprefix("open:") for each in eval(answers)] == got, line
        assert commit == self.kernel.command("commit"), line
        assert after == self.kernel.state(), line

    def stat_off(self, line, on):
        assert on == self.kernel.write("/sys/module/damon_stat/parameters/enabled", "N"), line

    def command(self, line, command, answer):
        assert answer == self.kernel.command(command), line

    def effective(self, line, size):
        self.kernel.machine.sleep(2)
        assert self.kernel.command("update_schemes_effective_quotas") == "ok"
        assert size == self.kernel.read(f"{S}/quotas/effective_bytes"), line

    def after_off(self, line, stats, commit, off):
        assert stats == self.kernel.command("update_schemes_stats"), line
        assert commit == self.kernel.command("commit"), line
        assert off == self.kernel.command("off"), line

    def started(self, line, name, answers, on, state):
        self.kernel.write("nr_kdamonds", 1)
        self.kernel.context()
        got = self.kernel.writes(*STARTED[name])
        assert [each.removeprefix("open:") for each in eval(answers)] == got, line
        assert on == self.kernel.command("on"), line
        if not self.uncertain(name):
            assert state == self.kernel.state(), line
        self.kernel.command("off")

    def two(self, line, one, other, states, count, names):
        self.kernel.write("nr_kdamonds", 2)
        self.kernel.context(slot=0).context(slot=1)
        assert [one, other] == [self.kernel.command("on", 1), self.kernel.command("on")], line
        assert states.split() == [self.kernel.state(), self.kernel.state(1)], line
        assert count == self.kernel.write("nr_kdamonds", 1), line
        threads = [
            self.kernel.read(f"/proc/{entry.name}/comm")
            for entry in self.kernel.machine.scan("/proc")
            if entry.name.isdecimal()
        ]
        assert eval(names) == sorted(name for name in threads if name.startswith("kdamond")), line
        self.kernel.writes(("0/state", "off"), ("1/state", "off"), ("nr_kdamonds", 1))

    def nothing_seen(self, line, answer, regions):
        self.kernel.context("paddr")
        assert answer == self.kernel.command("on"), line

    def no_regions(self, line, answer, regions):
        assert answer == self.kernel.command("update_schemes_tried_regions"), line
        assert regions == self.kernel.read(f"{S}/tried_regions/total_bytes"), line
        self.kernel.command("off")

    def on_again(self, line, answer):
        self.kernel.write("nr_kdamonds", 1)
        if "exits" in self.section:
            self.pid = self.kernel.machine.start_process("victim", areas=[{"size": "1MiB"}])
            self.kernel.context(pid=self.pid)
        else:
            self.kernel.context("paddr").region(1 << 20, 1 << 30)
        assert answer == self.kernel.command("on"), line

    def tuned(self, line, answer, refreshed):
        assert answer == self.kernel.command("update_tuned_intervals"), line
        wanted = "ENOENT" if refreshed == "-" else refreshed
        assert wanted == self.kernel.write("0/refresh_ms", 500), line
        self.kernel.command("off")

    def exited(self, line, state, pid, stats, commit, off):
        self.kernel.machine.exit_process(self.pid)
        assert [state, pid] == [self.kernel.state(), self.kernel.read("0/pid")], line
        if stats:
            self.after_off(line, stats, commit, off)
        else:
            assert off == self.kernel.command("off"), line

    def unprivileged(self, line, read, write):
        machine = type(self.kernel.machine).create(
            self.kernel.machine.profile.version, spec={"root": False}
        )
        kernel = type(self.kernel)(machine)
        assert read == kernel.read("nr_kdamonds"), line
        assert write == kernel.write("nr_kdamonds", 1), line

    def files(self, line, state, operations):
        assert state == self.kernel.state(), line
        assert eval(operations) == self.kernel.read(f"{C}/avail_operations").split(), line

    KINDS = (
        (r"  (\S+) +ok: (.*?) ?\| refused: (.*)", words),
        (r"  (\S+) +\(no such file\)", no_words),
        (r"  \(absent: (\S+)\)", absent),
        (r"  write (\S+) +('.*'|\d+) +-> (\S+) \(reads '(.*)'\)", written),
        (r"  big write \((\d+) bytes to (\w+)\) -> short:(\d+)", long_write),
        (
            r"  (.+?) +write:(\S+) commit:(\S+) state after:(\S+) restore:(\S+) (.+): ok",
            committed,
        ),
        (r"  (.+?) +writes:(\[.*\]) commit:(\S+) state:(\S+)->(\S+)", committed_all),
        (r"  -> EBUSY while damon_stat is enabled; damon_stat off: (\S+)", stat_off),
        (r"  (commit|clear_schemes_tried_regions) (ok).*", command),
        (r"  update_schemes_effective_quotas ok (\d+)", effective),
        (r"  after off: update_schemes_stats (\S+) commit (\S+) off again (\S+)", after_off),
        (r"  (.+?) +writes:(\[.*\]) on:(\S+) state:(\S+)", started),
        (
            r"  two kdamonds: kd1 on (\S+) kd0 on (\S+) states (\S+ \S+) nr_\S+ (\S+) comm (.*)",
            two,
        ),
        (r"  without a region: on (\S+)()", nothing_seen),
        (r"   (\S+) (0) regions \(an explicit region is needed\)", no_regions),
        (r"  on (\S+)", on_again),
        (r"  update_tuned_intervals (\S+) refresh_ms=500 (\S+)", tuned),
        (
            r"  after the only .*: state (\S+) pid (\S+)(?: \S+_stats (\S+) commit (\S+))? off (\S+)",
            exited,
        ),
        (r"  read nr_kdamonds !(\S+) write open:(\S+)", unprivileged),
        (r"== kdamond state file, untouched: (\S+) \| avail_operations: (\[.*\])", files),
    )


@pytest.mark.parametrize("version", RELEASES)
def test_behaviour(version, making):
    lines = (OBSERVED / f"behaviour-{RELEASES[version]}.txt").read_text().splitlines()
    replay = Replay(making(version))

    replay.run([line for line in lines if line.strip()])

    assert replay.count > 190
    assert sum(replay.skipped.values()) < 75
    assert not replay.kernel.machine.poisoned
