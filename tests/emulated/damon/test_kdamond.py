"""Kdamonds: two stores, answers of those that are off, targets, tuning."""

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


def threads(kernel):
    return [
        name
        for entry in kernel.machine.scan("/proc")
        if entry.name.isdecimal()
        and (name := kernel.read(f"/proc/{entry.name}/comm")).startswith("kdamond")
    ]


def test_files_show_what_is_staged_not_what_runs(every):
    every.context()
    assert every.command("on") == "ok"

    assert every.write(SAMPLE, 7000) == "ok"

    assert every.read(SAMPLE) == "7000"
    running = every.machine.running(0)
    assert running["monitoring_attrs"]["intervals"]["sample_us"] == "5000"
    assert every.command("commit") == "ok"
    assert every.machine.running(0)["monitoring_attrs"]["intervals"]["sample_us"] == "7000"


def test_a_kdamond_is_a_thread_while_it_is_on(every):
    every.context()
    assert every.read("0/pid") == "-1"

    every.command("on")

    pid = every.read("0/pid")
    assert every.read(f"/proc/{pid}/comm") == "kdamond.0"
    assert "VmSize" not in every.read(f"/proc/{pid}/status")
    every.command("off")
    assert (every.read("0/pid"), every.read(f"/proc/{pid}/comm")) == ("-1", "ENOENT")
    assert every.machine.running(0) is None


def test_names_count_those_that_run(every):
    every.write("nr_kdamonds", 3)
    for slot in range(3):
        every.context(slot=slot)
        assert every.command("on", slot) == "ok"
    assert threads(every) == ["kdamond.0", "kdamond.1", "kdamond.2"]

    every.command("off", 0)
    every.command("on", 0)

    assert sorted(threads(every)) == ["kdamond.1", "kdamond.2", "kdamond.2"]


def test_counts_wipe_even_when_they_stay(every):
    every.context()
    every.write(f"{S}/action", "pageout")

    assert every.write(f"{C}/schemes/nr_schemes", 1) == "ok"

    assert every.read(f"{S}/action") == "stat"
    assert every.write("nr_kdamonds", 1) == "ok"
    assert every.read("0/contexts/nr_contexts") == "0"


def test_counts_have_limits(kernel):
    assert kernel.write("0/contexts/nr_contexts", 2) == "EINVAL"
    kernel.context()
    assert kernel.write(f"{C}/monitoring_attrs/probes/nr_probes", 5) == "EINVAL"
    assert kernel.write(f"{C}/schemes/nr_schemes", (1 << 31) - 1) == "ENOMEM"
    assert kernel.read(f"{C}/schemes/nr_schemes") == "0", "wiped before memory ran out"
    assert kernel.write(f"{C}/schemes/nr_schemes", 1 << 31) == "ERANGE"


def test_the_number_of_kdamonds_is_fixed_while_one_is_on(every):
    every.context()
    every.command("on")

    assert [every.write("nr_kdamonds", number) for number in (0, 1, 2)] == ["EBUSY"] * 3
    assert every.command("on") == "EBUSY"


def test_strings_cannot_be_emptied_by_nothing_but_by_nul(every):
    every.context()
    every.write(f"{S}/filters/nr_filters", 1)
    path = f"{S}/filters/0/memcg_path"
    every.write(path, "/a")

    assert every.write(path, "") == "ok"
    assert every.read(path) == "/a"
    assert every.write(path, "\0") == "ok"
    assert every.read(path) == ""
    assert every.write(SAMPLE, "\0") == "EINVAL"


def test_commands_before_the_first_start(every):
    every.context()

    answers = {command: every.command(command) for command in (*RESULTS, "off")}
    assert set(answers.values()) == {"EINVAL"}
    clear = every.command("clear_schemes_tried_regions")
    assert clear == ("EINVAL" if every.machine.profile.version == "6.12" else "ok")


def test_commands_after_a_stop(every):
    every.context()
    every.command("on")
    every.command("off")
    version = every.machine.profile.version

    answers = {command: every.command(command) for command in RESULTS}

    expected = dict.fromkeys(RESULTS, "ECANCELED" if version == "7.3" else "EINVAL")
    if version == "6.18":
        expected["update_schemes_tried_regions"] = "EBUSY"  # the second walk
    assert expected == answers
    assert every.command("off") == ("ok" if version == "7.3" else "EPERM")


def test_a_failed_start_forgets_the_last_run(every):
    every.context()
    every.command("on")
    every.command("off")
    every.write(f"{T}/pid_target", 999999)

    assert every.command("on") == "EINVAL"
    assert every.command("off") == "EINVAL"


def test_a_start_without_a_context_forgets_nothing(kernel):
    kernel.context()
    kernel.command("on")
    kernel.command("off")
    kernel.write("0/contexts/nr_contexts", 0)

    assert kernel.command("on") == "EINVAL"
    kernel.context()
    assert kernel.command("commit") == "ECANCELED"


def test_the_last_process_takes_its_kdamond_along(every):
    first, second = (every.machine.start_process("x") for _ in range(2))
    every.context(targets=2)
    every.writes((f"{T}/pid_target", first), (f"{C}/targets/1/pid_target", second))
    every.command("on")

    every.machine.exit_process(first)
    assert every.state() == "on"
    every.machine.exit_process(second)

    assert (every.state(), every.read("0/pid")) == ("off", "-1")
    assert every.command("on") == "EINVAL"


def test_paddr_outlives_processes(every):
    pid = every.machine.start_process("x")
    every.context("paddr")
    every.write(f"{T}/pid_target", pid)
    every.command("on")

    every.machine.exit_process(pid)

    assert every.state() == "on"


def test_a_pid_that_comes_again_is_another_process(every):
    pid = every.machine.start_process("x", pid=3333)
    other = every.machine.start_process("y")
    every.context(targets=2)
    every.writes((f"{T}/pid_target", pid), (f"{C}/targets/1/pid_target", other))
    every.command("on")
    every.machine.exit_process(pid)
    every.machine.start_process("x", pid=3333)

    every.machine.exit_process(other)

    assert every.state() == "off"


def test_no_target_no_kdamond(every):
    every.context()
    every.write(f"{C}/targets/nr_targets", 0)
    assert (every.command("on"), every.state()) == ("ok", "off")

    every.context()
    every.command("on")
    every.write(f"{C}/targets/nr_targets", 0)
    assert (every.command("commit"), every.state()) == ("ok", "off")


def test_obsolete_targets_go_at_a_commit(kernel):
    first, second = (kernel.machine.start_process("x") for _ in range(2))
    kernel.context(targets=2)
    kernel.writes((f"{T}/pid_target", first), (f"{C}/targets/1/pid_target", second))
    kernel.command("on")
    kernel.write(f"{T}/obsolete_target", "Y")
    assert kernel.command("commit") == "ok"

    kernel.machine.exit_process(second)

    assert kernel.state() == "off"


def test_an_obsolete_target_needs_a_match(kernel):
    kernel.context()
    kernel.command("on")
    kernel.write(f"{C}/targets/nr_targets", 2)
    kernel.writes(
        (f"{T}/pid_target", 811),
        (f"{C}/targets/1/pid_target", 815),
        (f"{C}/targets/1/obsolete_target", "Y"),
    )

    assert kernel.command("commit") == "EINVAL"
    assert kernel.state() == "on"


def test_tuned_intervals(kernel):
    intervals = f"{C}/monitoring_attrs/intervals"
    kernel.context("paddr").region(5 << 30, 6 << 30)  # nothing is there, and nothing uses it
    kernel.writes(
        (f"{intervals}/intervals_goal/access_bp", 400),
        (f"{intervals}/intervals_goal/aggrs", 3),
        (f"{intervals}/intervals_goal/min_sample_us", 5000),
        (f"{intervals}/intervals_goal/max_sample_us", 10_000_000),
    )
    kernel.command("on")
    read = lambda: (kernel.read(SAMPLE), kernel.read(f"{intervals}/aggr_us"))  # noqa: E731

    kernel.machine.sleep(0.5)
    assert read() == ("5000", "100000"), "the files are not touched"
    assert kernel.command("update_tuned_intervals") == "ok"
    assert read() == ("10000", "200000"), "after three aggregations, twice as long"
    kernel.machine.sleep(1)
    kernel.command("commit")  # the files are a step behind what runs: this resets it
    kernel.command("update_tuned_intervals")
    assert read() == ("10000", "200000")
    kernel.machine.sleep(3600)
    kernel.command("update_tuned_intervals")
    assert read() == ("10000000", "200000000")


def test_a_refreshed_file_is_tuned_without_a_command(kernel):
    kernel.context("paddr").region(5 << 30, 6 << 30)
    goal = f"{C}/monitoring_attrs/intervals/intervals_goal"
    kernel.writes((f"{goal}/aggrs", 3), (f"{goal}/access_bp", 400))
    kernel.writes((f"{goal}/min_sample_us", 5000), (f"{goal}/max_sample_us", 20000))
    kernel.write("0/refresh_ms", 100)
    kernel.command("on")

    kernel.machine.sleep(2)

    assert kernel.read(SAMPLE) == "20000"
    assert int(kernel.read(f"{S}/stats/nr_tried")) > 0


def test_tuned_intervals_survive_a_commit_that_knows_them(kernel):
    kernel.context("paddr").region(5 << 30, 6 << 30)
    goal = f"{C}/monitoring_attrs/intervals/intervals_goal"
    kernel.writes((f"{goal}/aggrs", 3), (f"{goal}/access_bp", 400))
    kernel.writes((f"{goal}/min_sample_us", 5000), (f"{goal}/max_sample_us", 20000))
    kernel.command("on")
    kernel.machine.sleep(2)
    kernel.command("update_tuned_intervals")
    assert kernel.read(SAMPLE) == "20000"

    kernel.command("commit")
    kernel.command("update_tuned_intervals")

    assert kernel.read(SAMPLE) == "20000"


def test_walks_that_cannot_end(every):
    every.context(schemes=0)
    every.command("on")
    cancelled = "ok" if every.machine.profile.version == "6.12" else "ECANCELED"

    assert every.command("update_schemes_tried_regions") == cancelled
    assert every.command("update_schemes_stats") == "ok"


def test_a_paused_kdamond_answers_but_does_not_walk(kernel):
    kernel.context().write(f"{C}/pause", "Y")
    kernel.command("on")
    kernel.machine.sleep(1)

    assert kernel.command("update_schemes_tried_bytes") == "ECANCELED"
    assert kernel.command("update_schemes_stats") == "ok"
    assert kernel.read(f"{S}/stats/nr_tried") == "0"
