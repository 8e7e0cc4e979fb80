"""After a crash, and with files of ours that somebody else has written."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.engine import journal
from damonpolicy.engine.journal import Before, Header, Progress
from damonpolicy.engine.state_directory import read_json, write_json
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.plan.state import Managed
from tests.engine.site import KSM_RUN, shipped, starting

SLEEP = "/sys/kernel/mm/ksm/sleep_millisecs"
ACTION = f"{KDAMONDS}/0/contexts/0/schemes/0/action"


def test_an_interrupted_transaction_is_announced(crashed):
    assert "warning[DP0612]: a transaction was interrupted" in crashed.done("status").err
    assert "warning[DP0612]" in crashed.run("plan", shipped("ksm")).err
    assert "problem: a transaction was interrupted" in crashed.run("doctor").out


@pytest.mark.parametrize("words", [("recover",), ("stop", "--all"), ("rollback", "0")])
def test_every_changing_command_recovers_first(crashed, words):
    outcome = crashed.done(*words)

    assert "generation 1 was interrupted: everything is as it was before" in outcome.out
    assert crashed.world.look() == crashed.before
    assert not crashed.places.journal.exists()
    assert crashed.json("history")["data"]["generations"] == []


def test_an_apply_recovers_first_and_says_so(crashed):
    outcome = crashed.done("apply", shipped("ksm"))

    assert "note: generation 1 was interrupted" in outcome.out
    assert crashed.done("diff").out.endswith("No drift.\n")
    assert "nothing to recover" in crashed.done("recover").out


def test_recovering_on_request_needs_no_command_line(crashed, capsys):
    from damonpolicy.engine.recover import main

    main(["--kernel", "emulated:7.3", "--state-dir", str(crashed.directory)])

    assert "everything is as it was before" in capsys.readouterr().err
    assert crashed.world.look() == crashed.before


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (SLEEP, "77", f"`{SLEEP}` is neither what it was nor what was written"),
        (ACTION, "pageout", "`0/contexts/0/schemes/0/action` was changed by someone else"),
    ],
)
def test_bytes_of_someone_else_are_left_alone(crashed, path, text, said):
    """Neither what was there before nor what the transaction wrote."""
    if path == SLEEP:  # as far as the transaction is concerned, 20 → 20 is nothing to write
        crashed.done("recover")
        crashed.machine.write(SLEEP, "50")
        crashed.before = crashed.world.look()
        crashed.killed(starting, "ksm")
    kept = crashed.read(path)
    crashed.machine.write(path, text)
    outcome = crashed.run("recover")

    assert outcome.code == ExitCode.ROLLBACK_INCOMPLETE
    assert said in outcome.err
    assert "hint: the journal stays at" in outcome.err
    assert crashed.read(path) == text
    assert crashed.places.journal.exists()
    assert crashed.run("apply", shipped("monitor")).code == ExitCode.ROLLBACK_INCOMPLETE
    assert crashed.read(path) == text
    crashed.machine.write(path, kept)

    assert crashed.run("recover").code == 0
    assert crashed.world.look() == crashed.before


def test_a_journal_of_another_boot_is_put_aside(crashed):
    boot = crashed.read("/proc/sys/kernel/random/boot_id")
    crashed.machine.reboot()
    before = crashed.world.look()
    outcome = crashed.done("recover")

    assert "a journal of an earlier boot was put aside" in outcome.out
    assert not crashed.places.journal.exists()
    assert (crashed.places.run / f"journal.{boot}").exists()
    assert crashed.world.look() == before
    crashed.done("apply", shipped("ksm"))


def test_a_torn_last_line_counts_as_not_there(crashed):
    found = *_, size = journal.read(crashed.places.journal)
    data = crashed.places.journal.read_bytes()
    crashed.places.journal.write_bytes(data[:size])  # without the room that was taken
    with crashed.places.journal.open("ab") as stream:
        stream.write(b'0123456789abcdef {"intent":0}\n')
    assert journal.read(crashed.places.journal) == found
    with crashed.places.journal.open("ab") as stream:
        stream.write(journal._line({"intent": 99}))
    assert journal.read(crashed.places.journal) == found, "nothing after it counts"
    data = crashed.places.journal.read_bytes()
    crashed.places.journal.write_bytes(data[:-5])
    assert journal.read(crashed.places.journal) == found

    crashed.done("recover")
    assert crashed.world.look() == crashed.before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"starts": {"0": "x"}}, "`starts` is a str"),
        ({"after": []}, "`after` is a list"),
        ({"operations": [{"kind": "write"}]}, "has no `phase`"),
        ({"managed": None}, "`managed` is a NoneType"),
        ({"pending": {"deadline": 1, "previous": 0, "policies": 7}}, "`policies` of `pending`"),
        ({"generation": True}, "`generation` is a bool"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_journal_that_says_what_none_of_ours_does_is_named(crashed, change, said):
    header = journal.read(crashed.places.journal)[0].to_json() | change
    crashed.places.journal.write_bytes(journal._line(header))
    outcome = crashed.run("recover")

    assert outcome.code not in (0, ExitCode.INTERNAL)
    assert f"`{crashed.places.journal}` is damaged: " in outcome.err
    assert said in outcome.err


@pytest.mark.parametrize("line", [{"intent": []}, {"started": [0, 1]}, {"restarting": "0"}, [1]])
def test_a_line_of_a_journal_that_none_of_ours_says_is_named(crashed, line):
    header, *_ = journal.read(crashed.places.journal)
    crashed.places.journal.write_bytes(journal._line(header.to_json()) + journal._line(line))
    outcome = crashed.run("recover")

    assert outcome.code not in (0, ExitCode.INTERNAL)
    assert f"`{crashed.places.journal}` is damaged: " in outcome.err


ONE = """\
version: 1
name: one
kdamonds:
  - name: k
    ops: {ops}
    targets: [{target}]
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""


def test_what_was_stopped_for_a_restart_runs_again(site):
    """Its thread is another one then, and still ours."""
    process = ONE.format(ops="vaddr", target="{process: {name: nginx}}")
    memory = ONE.format(ops="paddr", target="{system_ram: true}")
    site.done("apply", site.policy("one", process))
    before, pid = site.world.look(), site.world.managed.slots[0].pid
    site.killed(starting, "one", None, memory)
    assert site.read(f"{KDAMONDS}/0/state") == "off"
    outcome = site.done("recover")

    assert "the kdamond of slot 0 was started again: its results are lost" in outcome.out
    assert site.world.look() == before
    assert site.world.managed.slots[0].pid != pid
    assert site.json("status")["data"]["kdamonds"][0]["owner"] == "ours"
    assert site.done("diff").out.endswith("No drift.\n")


def test_a_kdamond_that_someone_started_meanwhile_is_not_stopped(site):
    """The transaction had not come as far as starting it."""
    site.killed(lambda path, text: path.endswith("/age/min"), "ksm")
    for path, text in (
        ("contexts/nr_contexts", "1"),
        ("contexts/0/operations", "paddr"),
        ("contexts/0/targets/nr_targets", "1"),
        ("contexts/0/targets/0/regions/nr_regions", "1"),
        ("contexts/0/targets/0/regions/0/start", "4294967296"),
        ("contexts/0/targets/0/regions/0/end", "4303355904"),
        ("contexts/0/schemes/nr_schemes", "0"),
        ("state", "on"),
    ):
        site.world.write(f"0/{path}", text)
    outcome = site.run("recover")

    assert outcome.code == ExitCode.ROLLBACK_INCOMPLETE
    assert "slot 0 was started by someone else" in outcome.err
    assert site.read(f"{KDAMONDS}/0/state") == "on"
    assert site.machine.running(0)["operations"] == "paddr"


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "x/y.json"
    data = {"b": [1, 2.5, None, True], "a": {"ü": "\udcff"}}
    write_json(path, data)

    assert read_json(path) == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert read_json(tmp_path / "none") is None


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "y.json"
    write_json(path, {"a": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DamonPolicyError, match="no space left on device"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["y.json"]


def test_a_journal_holds_what_an_undo_needs(tmp_path):
    before = Before({"a": "1"}, {0: 5}, {"/x": "y"})
    header = Header("t", "b", 3, before, (), {1: {"c": "2"}}, Managed("b"))
    written = journal.begin(tmp_path / "journal", header)
    written.note({"intent": 4})
    written.note({"started": [1, 77, 5]})
    written.note({"undo": True})
    written.note({"restarting": 0})
    written.note({"restarted": [0, 78, 6]})
    read, progress, _ = journal.read(tmp_path / "journal")

    assert read == header
    assert progress == Progress({4}, {1: {(77, 5)}}, {0: {(78, 6)}}, {0}, undoing=True)
    written.end()
    assert not (tmp_path / "journal").exists()
    assert journal.read(tmp_path / "journal") is None


def test_a_state_that_cannot_be_written_undoes_the_change(site, monkeypatch):
    """The commit point itself fails: nothing has happened then."""
    site.done("apply", shipped("monitor"))
    before = site.world.look()

    def fail(self, managed):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", fail)
        outcome = site.run("apply", shipped("ksm"))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "everything is as it was" in outcome.err
    assert site.world.look() == before
    assert site.read(KSM_RUN) == "0"
    assert site.done("diff").out.endswith("No drift.\n")


def test_a_slot_that_someone_has_filled_meanwhile_is_not_wiped(crashed):
    """The interrupted transaction made the slots; giving them back would wipe theirs."""
    path = f"{KDAMONDS}/5/contexts/nr_contexts"
    crashed.machine.write(path, "1")
    crashed.machine.write(f"{KDAMONDS}/5/contexts/0/operations", "paddr")
    outcome = crashed.run("recover")

    assert outcome.code == ExitCode.ROLLBACK_INCOMPLETE
    assert "slot 5 was configured by someone else: it is left as it is" in outcome.err
    assert crashed.read(f"{KDAMONDS}/5/contexts/0/operations") == "paddr"
    assert crashed.read(f"{KDAMONDS}/0/contexts/nr_contexts") == "0", "ours is cleared"
    crashed.machine.write(path, "0")

    assert crashed.run("recover").code == 0
    assert crashed.world.look() == crashed.before
