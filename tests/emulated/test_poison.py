"""Hazards of real kernels poison the emulated one; and what wakes a kdamond or makes it sleep."""

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.profiles import PROFILES, profile

C = "0/contexts/0"
S = f"{C}/schemes/0"
T = f"{C}/targets/0"
SAMPLE = f"{C}/monitoring_attrs/intervals/sample_us"
RESULTS = (
    "commit",
    "commit_schemes_quota_goals",
    "update_schemes_stats",
    "update_schemes_effective_quotas",
    "update_schemes_tried_bytes",
    "update_schemes_tried_regions",
)


@pytest.fixture
def other(monkeypatch, making):
    """A function that makes a kernel which is not among the known ones."""

    def made(version):
        derived = profile(version, f"{version}.0")
        monkeypatch.setitem(PROFILES, version, derived)
        return making(version)

    return made


def watermarks(kernel, interval):
    """Keep the scheme inactive: there is far more free memory."""
    return kernel.context("paddr").writes(
        (f"{S}/watermarks/metric", "free_mem_rate"),
        (f"{S}/watermarks/interval_us", interval),
        (f"{S}/watermarks/high", 10),
        (f"{S}/watermarks/mid", 5),
        (f"{S}/watermarks/low", 1),
    )


def poisoned(kernel, reason):
    assert reason in kernel.machine.poisoned
    for path in ("0/state", "/proc/iomem"):
        with pytest.raises(OSError, match=reason):
            kernel.machine.read(kernel.path(path))
    with pytest.raises(OSError, match=reason):
        kernel.machine.scan("/sys")
    with pytest.raises(OSError, match=reason):
        kernel.machine.exists("/sys")
    assert kernel.write(SAMPLE, 1) == "EIO"
    kernel.machine.reboot()
    assert not kernel.machine.poisoned
    assert kernel.read("nr_kdamonds") == "0"
    return True


def test_inactive_schemes_do_not_walk(making):
    kernel = making("7.3")
    watermarks(kernel, 500_000)
    kernel.command("on")

    assert kernel.command("update_schemes_tried_regions") == "ECANCELED"
    assert kernel.command("commit") == "ok"


def test_poison_commit_to_inactive_schemes(making):
    kernel = making("6.12")
    watermarks(kernel, 500_000)
    kernel.command("on")
    assert kernel.command("update_schemes_stats") == "ok"

    assert kernel.command("commit") == "EIO"
    assert poisoned(kernel, "waits for ever")


def test_an_interval_of_nothing_keeps_the_kdamond_awake(making):
    kernel = making("6.12")
    watermarks(kernel, 0)
    kernel.command("on")

    assert kernel.command("commit") == "ok"


@pytest.mark.parametrize("version", ["6.18", "7.3"])
def test_poison_walk_of_inactive_schemes(version, making):
    kernel = making(version)
    watermarks(kernel, 0)
    kernel.command("on")

    assert kernel.command("update_schemes_tried_regions") == "EIO"
    assert poisoned(kernel, "never come")


def missing_node(kernel):
    goals = f"{S}/quotas/goals"
    return kernel.context().writes(
        (f"{goals}/nr_goals", 1),
        (f"{goals}/0/target_metric", "node_mem_used_bp"),
        (f"{goals}/0/target_value", 5000),
        (f"{goals}/0/nid", 9),
    )


def test_poison_goal_on_a_missing_node(making):
    kernel = making("6.18")
    missing_node(kernel)

    assert kernel.command("on") == "ok", "the kernel does not notice"
    assert poisoned(kernel, "quota goal on node 9")


def test_a_goal_on_a_missing_node_is_harmless_today(kernel):
    missing_node(kernel)

    assert kernel.command("on") == "ok"
    assert not kernel.machine.poisoned


@pytest.mark.parametrize("command", ["update_schemes_stats", "update_schemes_tried_regions",
                                     "clear_schemes_tried_regions", "update_tuned_intervals"])  # fmt: skip
def test_poison_results_without_a_context(command, making):
    kernel = making("6.18").context()
    kernel.command("on")
    kernel.write("0/contexts/nr_contexts", 0)
    assert kernel.command("commit") == "EINVAL"
    assert kernel.command("on") == "EBUSY"

    assert kernel.command(command) == "EIO"
    assert poisoned(kernel, "without a context")


def test_poison_clearing_what_never_was(making):
    kernel = making("6.18")

    assert kernel.command("clear_schemes_tried_regions") == "EIO"
    assert kernel.machine.poisoned


def test_poison_refreshing_without_a_context(making):
    kernel = making("6.18").context()
    kernel.write("0/refresh_ms", 100)
    kernel.command("on")
    kernel.write("0/contexts/nr_contexts", 0)

    assert kernel.read("0/state") == "EIO"
    assert kernel.machine.poisoned


@pytest.mark.parametrize("version", ["6.12", "7.3"])
def test_no_poison_without_a_context(version, making):
    kernel = making(version).context()
    kernel.command("on")
    kernel.write("0/contexts/nr_contexts", 0)

    for command in (*RESULTS, "clear_schemes_tried_regions", "on"):
        assert kernel.command(command) == "EINVAL"
    assert (kernel.state(), kernel.command("off"), kernel.state()) == ("on", "ok", "off")


def test_poison_second_command_to_a_stopped_kdamond(other):
    kernel = other("6.17").context()
    kernel.command("on")
    kernel.command("off")

    assert kernel.command("commit") == "EINVAL"
    assert kernel.command("update_schemes_stats") == "EIO"
    assert poisoned(kernel, "second command")


def test_busy_second_command_to_a_stopped_kdamond(other):
    kernel = other("6.16").context()
    kernel.command("on")
    kernel.command("off")

    answers = [kernel.command("commit") for _ in range(3)]

    assert answers == ["EINVAL", "EBUSY", "EBUSY"]
    assert kernel.command("on") == "ok"
    kernel.command("off")
    assert kernel.command("commit") == "EINVAL"


def test_poison_empty_regions_beside_each_other(making):
    kernel = making("6.18").context()
    kernel.write(f"{T}/regions/nr_regions", 2)

    assert kernel.command("on") == "ok"
    assert poisoned(kernel, "divides by zero")


def test_poison_threads_without_ids(making):
    kernel = making("damon-next").context("paddr")
    sample = f"{C}/monitoring_attrs/sample"
    kernel.writes(
        (f"{sample}/primitives/page_table", "N"), (f"{sample}/primitives/page_fault", "Y")
    )
    kernel.writes((f"{sample}/filters/nr_filters", 1), (f"{sample}/filters/0/type", "threads"))

    assert kernel.write(f"{sample}/filters/0/tid_arr", "abc") == "ENOENT"
    assert kernel.command("on") == "ok"
    assert poisoned(kernel, "without any thread id")


def test_poison_changed_type_of_a_sample_filter(making):
    kernel = making("damon-next").context("paddr")
    filters = f"{C}/monitoring_attrs/sample/filters"
    kernel.writes((f"{filters}/nr_filters", 1), (f"{filters}/0/type", "write"))
    kernel.command("on")
    kernel.write(f"{filters}/0/type", "cpumask")

    assert kernel.command("commit") == "ok"
    assert poisoned(kernel, "changes the type")


def test_sample_filters_may_be_replaced_in_two_commits(making):
    kernel = making("damon-next").context("paddr")
    filters = f"{C}/monitoring_attrs/sample/filters"
    kernel.writes((f"{filters}/nr_filters", 1), (f"{filters}/0/type", "write"))
    kernel.command("on")
    kernel.write(f"{filters}/nr_filters", 0)
    assert kernel.command("commit") == "ok"
    kernel.writes((f"{filters}/nr_filters", 1), (f"{filters}/0/cpumask", "0-1"))

    assert kernel.command("commit") == "ok"
    assert not kernel.machine.poisoned


def test_samples_need_exactly_one_primitive(making):
    kernel = making("damon-next").context("paddr")
    kernel.write(f"{C}/monitoring_attrs/sample/primitives/page_fault", "Y")

    assert kernel.command("on") == "EINVAL"


def test_an_ordinary_user_may_not_look():
    machine = EmulatedMachine.create("7.3", spec={"root": False})

    for path in ("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds",
                 "/sys/module/damon_stat/parameters/enabled"):  # fmt: skip
        with pytest.raises(PermissionError):
            machine.read(path)
        with pytest.raises(PermissionError):
            machine.write(path, "1")
    assert machine.scan("/sys/kernel/mm/damon/admin/kdamonds")
