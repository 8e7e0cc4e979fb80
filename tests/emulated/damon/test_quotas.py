import pytest

from damonpolicy.emulated.damon.monitor import next_input

C = "0/contexts/0"
S = f"{C}/schemes/0"
Q = f"{S}/quotas"
MIB = 1 << 20


@pytest.fixture
def limited(kernel):
    """A kernel that looks at all memory, and a quota to be filled in."""
    return limit(kernel)


def limit(kernel):
    kernel.context("paddr").region(1 << 20, 5 << 30)
    kernel.write(f"{Q}/reset_interval_ms", 1000)
    return kernel


def effective(kernel):
    assert kernel.command("update_schemes_effective_quotas") == "ok"
    return int(kernel.read(f"{Q}/effective_bytes"))


def test_the_loop_of_the_kernel():
    assert next_input(20_000, 10_000) == 20_000
    assert next_input(20_000, 0) == 40_000
    assert next_input(20_000, 15_000) == 10_000
    assert next_input(10**9, 20_000) == 10_000
    assert next_input((1 << 64) - 1, 0) == (1 << 64) - 1


def test_a_size_is_in_effect_after_the_first_application(limited):
    limited.write(f"{Q}/bytes", 8 * MIB)
    limited.command("on")
    assert effective(limited) == 0

    limited.machine.sleep(3)

    assert effective(limited) == 8 * MIB
    assert limited.read(f"{Q}/effective_bytes") == str(8 * MIB)
    limited.command("update_schemes_stats")
    assert limited.read(f"{S}/stats/sz_tried") == str(4 * 8 * MIB), "once in each window"
    assert limited.read(f"{S}/stats/qt_exceeds") == "3", "of those that are over"


def test_a_new_size_waits_for_the_next_window(limited):
    limited.write(f"{Q}/bytes", 8 * MIB)
    limited.command("on")
    limited.machine.sleep(1)
    effective(limited)
    limited.write(f"{Q}/bytes", 4096)
    limited.command("commit")
    assert effective(limited) == 8 * MIB

    limited.machine.sleep(1.5)

    assert effective(limited) == 4096


def test_a_time_becomes_a_size(limited):
    limited.write(f"{Q}/ms", 5)
    limited.command("on")
    limited.machine.sleep(0.2)

    assert effective(limited) == 5 * 1024 * 4096


def test_a_walk_shows_what_the_quota_allows(limited):
    limited.write(f"{Q}/bytes", 8 * MIB)
    limited.command("on")
    limited.machine.sleep(1)

    limited.command("update_schemes_tried_bytes")

    assert limited.read(f"{S}/tried_regions/total_bytes") == str(8 * MIB)


def goal(kernel, metric, target, **more):
    here = f"{Q}/goals"
    kernel.writes((f"{here}/nr_goals", 1), (f"{here}/0/target_metric", metric))
    kernel.writes((f"{here}/0/target_value", target))
    kernel.writes(*((f"{here}/0/{name}", value) for name, value in more.items()))


def test_a_goal_that_is_missed_lets_the_quota_grow_to_its_size(limited):
    limited.write(f"{Q}/bytes", MIB)
    goal(limited, "user_input", 100, current_value=50)
    limited.command("on")
    limited.machine.sleep(2)
    small = effective(limited)

    limited.machine.sleep(10)

    assert 0 < small < effective(limited) < MIB
    limited.machine.sleep(100)
    assert effective(limited) == MIB


def test_a_goal_that_is_exceeded_shrinks_it_at_once(limited):
    goal(limited, "user_input", 100, current_value=50)
    limited.command("on")
    limited.machine.sleep(30)
    assert effective(limited) > 1000
    limited.write(f"{Q}/goals/0/current_value", 500)
    assert effective(limited) > 1000, "not committed yet"

    assert limited.command("commit_schemes_quota_goals") == "ok"
    limited.machine.sleep(2)

    assert effective(limited) == 1
    assert limited.read(f"{Q}/goals/0/current_value") == "500"


@pytest.mark.parametrize(("series", "grows"), [("6.18", True), ("7.3", False)])
@pytest.mark.parametrize("command", ["commit", "commit_schemes_quota_goals"])
def test_the_window_of_a_commit_says_nothing_about_pressure(making, series, grows, command):
    """On kernels whose goals forget then what they compare with."""
    limited = limit(making(series))
    goal(limited, "some_mem_psi_us", 500)
    limited.command("on")
    limited.machine.sleep(5)
    before = effective(limited)
    assert before >= 8

    for _ in range(5):
        assert limited.command(command) == "ok"
        limited.machine.sleep(1)

    assert (effective(limited) > before) == grows
    limited.machine.sleep(3)
    assert effective(limited) > before


def test_a_temporal_tuner_is_all_or_nothing(limited):
    limited.writes((f"{Q}/goal_tuner", "temporal"), (f"{Q}/bytes", MIB))
    goal(limited, "user_input", 100, current_value=99)
    limited.command("on")
    limited.machine.sleep(1)
    assert effective(limited) == MIB

    limited.write(f"{Q}/goals/0/current_value", 100)
    limited.command("commit_schemes_quota_goals")
    limited.machine.sleep(2)

    assert effective(limited) == 0


@pytest.mark.parametrize(
    ("metric", "target", "grows"),
    [
        ("node_mem_used_bp", 10_000, True), ("node_mem_used_bp", 1000, False),
        ("node_mem_free_bp", 9000, True), ("node_mem_free_bp", 10, False),
        ("some_mem_psi_us", 500, True), ("active_mem_bp", 9000, True), ("inactive_mem_bp", 10, False),
        ("node_memcg_used_bp", 9000, True), ("node_eligible_mem_bp", 10_000, True),
    ],
)  # fmt: skip
def test_metrics(limited, metric, target, grows):
    goal(limited, metric, target, path="/machine.slice/vm-1.scope", nid=1)
    limited.command("on")
    limited.machine.sleep(20)

    assert (effective(limited) > 1) is grows


def test_a_missing_node_counts_as_free(limited):
    goal(limited, "node_mem_free_bp", 10_000, nid=9)
    limited.command("on")
    limited.machine.sleep(3)

    assert effective(limited) == 1


def test_watermarks_stop_a_scheme(limited):
    marks = f"{S}/watermarks"
    limited.writes((f"{marks}/metric", "free_mem_rate"), (f"{marks}/interval_us", 1000))
    limited.writes((f"{marks}/high", 990), (f"{marks}/mid", 900), (f"{marks}/low", 0))
    limited.command("on")
    limited.machine.sleep(1)
    limited.command("update_schemes_stats")
    counted = int(limited.read(f"{S}/stats/nr_tried"))
    assert counted > 0

    limited.write(f"{marks}/high", 100)
    limited.command("commit")
    limited.machine.sleep(1)
    limited.command("update_schemes_stats")

    assert int(limited.read(f"{S}/stats/nr_tried")) == counted
