"""The committed cgroup: a new one at its path is shown, committed again, waited for."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.state_directory import read_json, write_json
from tests.engine.site import Site
from tests.policies import spare

STAT = "/sys/module/damon_stat/parameters/enabled"
WEB = "/web.slice"
AREA = {"size": "64MiB", "anon": True}
SPARE = spare("512MiB")
REJECT, ALLOW = "{reject: {memcg: /web.slice}}", "{allow: {memcg: /web.slice}}"


@pytest.fixture(params=["6.12", "7.3"])
def site(request):
    made = Site(request.param)
    if made.machine.exists(STAT):
        made.machine.write(STAT, "N")
    made.machine.start_process("web", pid=2001, areas=[AREA], cgroup=WEB)
    yield made
    made.close()


def spare(site, filters=REJECT, *, more=""):
    text = SPARE.format(filters=filters)
    return site.policy("spare", text.replace("    ops:", f"{more}    ops:"))


def gone(site):
    site.machine.exit_process(2001)
    site.machine.remove_cgroup(WEB)


def remade(site):
    gone(site)
    site.machine.start_process("web", pid=2001, areas=[AREA], cgroup=WEB)


def spares(site):
    """Whether the running kdamond leaves the memory of the cgroup's process alone."""
    machine = site.machine
    now = machine.identity(f"/sys/fs/cgroup{WEB}")
    return machine._kdamonds.running("0")["cgroups"][WEB] == now


def test_another_cgroup_of_the_same_path_is_drift_and_the_next_apply_commits_it(site):
    policy = spare(site)
    site.done("apply", policy)
    assert site.run("diff").code == ExitCode.OK
    remade(site)
    assert not spares(site)

    differs = site.run("diff")
    assert differs.code == ExitCode.CHANGES
    assert differs.out.splitlines()[1:] == [
        "spare/k (slot 0)",
        "  ~ the cgroup `/web.slice` was made again since: what was committed is gone",
    ]
    warned = "warning[DP0650]: spare/k (slot 0): the cgroup `/web.slice` was made again since"
    assert warned in site.done("status").err
    planned = site.run("plan", policy)
    assert planned.code == ExitCode.CHANGES
    assert "note: the cgroup `/web.slice` was made again since it was committed" in planned.out
    assert "1 kdamond to change online, 1 write" in planned.out

    since = len(site.machine.log)
    site.done("apply", policy)
    commands = [each.text for each in site.machine.log[since:] if each.path.endswith("/state")]
    assert commands == ["commit", "update_schemes_stats"], "and no file is written"
    assert len(site.machine.log) == since + 2
    assert spares(site)
    assert site.run("diff").code == ExitCode.OK
    since = len(site.machine.log)
    assert "No changes." in site.done("apply", policy).out
    assert len(site.machine.log) == since


def test_a_cgroup_that_is_gone_is_drift(site):
    site.done("apply", spare(site))
    gone(site)

    assert "  ~ the cgroup `/web.slice` is gone" in site.run("diff").out.splitlines()
    found = site.json("diff")["data"]["drift"]
    assert found[0]["path"] == "/sys/fs/cgroup/web.slice"
    assert found[0]["found"] == "no such cgroup"
    hint = (
        "hint: `damonpolicy apply` commits it once it is back; `when_absent: wait` does without it"
    )
    assert hint in site.done("status").err


def test_a_state_of_before_is_read_and_what_it_does_not_know_is_committed_once(site):
    policy = spare(site)
    site.done("apply", policy)
    state = read_json(site.places.state)
    del state["slots"]["0"]["cgroups"]
    write_json(site.places.state, state)

    assert site.run("diff").code == ExitCode.OK, "nobody can tell"
    planned = site.run("plan", policy).out
    assert "it is not known which cgroup `/web.slice` was committed" in planned
    site.done("apply", policy)
    assert "No changes." in site.done("apply", policy).out


@pytest.mark.parametrize("kernel", ["7.3"])
def test_a_goal_and_a_probe_on_another_cgroup_are_committed_again(kernel):
    site = Site(kernel)
    site.machine.write(STAT, "N")
    for path in ("/goal.slice", "/probe.slice"):
        site.machine.make_cgroup(path)
    policy = site.policy("g", """\
version: 1
name: g
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    probes: [{name: p, filters: [{allow: {memcg: {path: /probe.slice, subtree: false}}}]}]
    schemes:
      - name: s
        action: stat
        quota:
          size: 1MiB
          every: 1s
          goals: [{metric: node_memcg_used_bp, node: 0, cgroup: /goal.slice, target: 5%}]
""")  # fmt: skip
    site.done("apply", policy)
    for path in ("/goal.slice", "/probe.slice"):
        site.machine.remove_cgroup(path)
        site.machine.make_cgroup(path)
        assert f"the cgroup `{path}` was made again since" in site.run("diff").out
        assert "1 kdamond to change online, 1 write" in site.done("apply", policy).out
        assert site.run("diff").code == ExitCode.OK
    site.close()


def test_what_is_adopted_may_mean_other_cgroups(site):
    policy = spare(site)
    site.done("apply", policy)
    site.places.state.unlink()

    assert "is adopted" in site.done("apply", policy).out
    assert "it is committed again" in site.run("plan", policy).out


def test_a_missing_cgroup_is_an_error_at_its_line_beside_the_mistakes_of_other_policies(site):
    gone(site)
    other = site.policy("other", "version: 1\nname: other\nsetings: {}\n")
    outcome = site.run("apply", spare(site), other)

    assert outcome.code == ExitCode.INVALID
    assert "spare.yaml:12:36: error[DP0303]: there is no cgroup `/web.slice`" in outcome.err
    assert "other.yaml:3:1: error[DP0101]" in outcome.err


def test_all_processes_that_are_missing_are_told_at_once(site):
    texts = [
        f"version: 1\nname: {name}\nkdamonds: [{{name: k, ops: vaddr,"
        f" targets: [{{process: {{name: {name}}}}}]}}]\n"
        for name in ("postgres", "redis")
    ]
    paths = [site.policy(f"n{number}", text) for number, text in enumerate(texts)]
    outcome = site.run("apply", *paths)

    assert outcome.code == ExitCode.INVALID
    assert "no process matches `name: postgres` of `postgres/k`" in outcome.err
    assert "no process matches `name: redis` of `redis/k`" in outcome.err


WAIT = "    when_absent: wait\n"


@pytest.mark.parametrize("filters", [REJECT, ALLOW])
def test_a_kdamond_that_may_wait_waits_for_the_cgroup_of_its_filter(site, filters):
    gone(site)
    policy = spare(site, filters, more=WAIT)
    planned = site.run("plan", policy)
    assert "warning[DP0303]: there is no cgroup `/web.slice`: it is waited for" in planned.err
    assert "kdamond spare/k (waits for the cgroup `/web.slice`)" in planned.out

    site.done("apply", policy)
    assert site.machine.running(0) is None
    assert "kdamond spare/k: waits for the cgroup `/web.slice`" in site.done("status").out
    assert site.json("status")["data"]["lacking"] == [
        {"kdamond": "spare/k", "waits_for": "the cgroup `/web.slice`", "left_out": []}
    ]

    site.machine.start_process("web", pid=2001, areas=[AREA], cgroup=WEB)
    assert "waits for `damonpolicy apply`: what it lacked is there" in site.done("status").out
    site.done("apply", policy)
    assert spares(site)
    gone(site)
    assert "1 kdamond to stop" in site.done("apply", policy).out
    assert site.machine.running(0) is None


def test_a_kdamond_waits_for_the_cgroup_of_its_processes(site):
    gone(site)
    policy = site.policy("w", """\
version: 1
name: w
kdamonds:
  - name: k
    when_absent: wait
    ops: vaddr
    targets: [{process: {cgroup: /web.slice}}]
""")  # fmt: skip
    assert "waits for the cgroup `/web.slice`" in site.done("apply", policy).out
    site.machine.start_process("web", pid=2001, areas=[AREA], cgroup=WEB)
    assert "1 kdamond to start" in site.done("apply", policy).out


def test_a_kdamond_waits_for_the_node_of_a_goal():
    site = Site("7.3")
    policy = site.policy("n", """\
version: 1
name: n
kdamonds:
  - name: k
    when_absent: wait
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: stat
        quota:
          {size: 1MiB, every: 1s, goals: [{metric: node_mem_used_bp, node: 7, target: 5%}]}
""")  # fmt: skip
    outcome = site.done("apply", policy)
    assert "there is no node 7: it is waited for" in outcome.err
    assert "waits for node 7" in outcome.out
    site.close()


def refused_after(site, monkeypatch):
    """Let the next commit fail once it has reached the kernel."""
    real, seen = EmulatedMachine.write, []

    def write(machine, path, text):
        real(machine, path, text)
        if path.endswith("/state") and text == "commit" and not seen:
            seen.append(path)
            raise OSError(errno.EIO, "refused", path)

    monkeypatch.setattr(EmulatedMachine, "write", write)


def test_an_undo_leaves_out_a_filter_whose_cgroup_is_gone(site, monkeypatch):
    """The kernel would refuse all that was before, and the journal would stay for ever."""
    site.done("apply", spare(site))
    before = site.world.look()
    gone(site)
    refused_after(site, monkeypatch)
    outcome = site.run("apply", spare(site, "{reject: anon}"))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "slot 0: filters on cgroups that are gone are not put back" in outcome.err
    assert not site.places.journal.exists()
    after = site.world.look()
    assert {p: v for p, v in before.items() if not p.endswith("/runs")} == {
        p: v for p, v in after.items() if not p.endswith("/runs")
    }, "files say what they said"
    assert after["0/runs"]["contexts/0/schemes/0/quotas/bytes"] == str(512 << 20)
    site.machine.start_process("web", pid=2001, areas=[AREA], cgroup=WEB)
    assert "was made again since" in site.run("diff").out
    site.done("apply", spare(site))
    assert spares(site)


@pytest.mark.parametrize("at", range(1, 16))
def test_an_undo_that_is_killed_beside_a_gone_cgroup_is_no_stranger_to_the_next(site, at):
    """It has left out a filter: those behind it stand in its place, and there are fewer."""
    site.done("apply", spare(site, f"{REJECT}, {{reject: anon}}, {{reject: young}}"))
    before = files(site)
    gone(site)
    seen = []

    def kills(path, text):
        """Let the commit fail, and kill what undoes it right before one of its writes."""
        if seen or text == "commit":
            seen.append(path)
        if len(seen) == 1:
            raise OSError(errno.EIO, "refused", path)
        return len(seen) == 1 + at

    site.killed(kills, "spare", None, SPARE.format(filters=""))
    site.done("recover")

    assert files(site) == before
    assert not site.places.journal.exists()


def files(site):
    return {path: text for path, text in site.world.look().items() if not path.endswith("/runs")}
