"""Random sequences: what they reach, what they never do, and how they are compared."""

from __future__ import annotations

import errno
from itertools import count, islice

import pytest

from damonpolicy.emulated.damon.table import layout
from damonpolicy.emulated.machine import versions
from damonpolicy.emulated.profiles import find
from damonpolicy.kernel.damon.schema import pattern
from tests.guest import differential
from tests.guest.errors import GuestDied
from tests.guest.inside.generated import sequence
from tests.guest.inside.players import emulated, parameters
from tests.guest.inside.recorded import CHOSEN, explain, load, record, replay
from tests.guest.inside.replay import line_of

pytestmark = pytest.mark.unmeasured  # thousands of operations get slow by it

FEW = range(12)


class Living:
    """Processes of an emulated machine, which start again as those of a guest do."""

    def __init__(self, player):
        self.player = player

    def renew(self):
        machine, pids = self.player.machine, self.player.pids
        for name, pid in pids.items():
            if not machine.exists(f"/proc/{pid}"):
                pids[name] = machine.start_process(name, areas=[{"size": "16MiB"}])


def compared(player, records):
    return list(replay(player, Living(player), records))


def written(version, seed):
    return {
        step.path if step.path.startswith("/") else pattern(step.path)
        for step in sequence(version, seed)
        if step.do == "write"
    }


@pytest.mark.parametrize("version", versions())
def test_every_file_is_written_and_nothing_is_wrecked(version):
    """No operation of any sequence raises what is no OSError, either."""
    wanted = {file.path for file in layout(find(version)).files.values() if file.mode & 0o200}
    wanted |= {each.path for each in parameters(emulated(version))}

    for seed in islice(count(), len(differential.SEEDS)):
        wanted -= written(version, seed)
        if not wanted and seed >= len(CHOSEN):
            break

    assert not wanted


def test_a_seed_is_always_the_same_sequence():
    assert sequence("7.3", 5) == sequence("7.3", 5)
    assert sequence("7.3", 5) != sequence("7.3", 6)


def test_most_operations_are_valid_and_many_are_not():
    answers = [each.answer for seed in CHOSEN for each in record("7.3", seed).answers]

    assert 0.6 < answers.count("ok") / len(answers) < 0.9
    assert {"EINVAL", "EBUSY", "ERANGE", "ENOMEM", "ECANCELED", "ENOENT", "EACCES"} <= set(answers)


@pytest.mark.parametrize("version", ["6.12", "7.3"])
def test_a_kernel_answers_as_itself(version):
    assert compared(emulated(version), [record(version, seed) for seed in FEW]) == []


def test_a_record_survives_its_file():
    one = record("7.3", 3)

    assert load(one.line()) == one


def test_another_kernel_answers_otherwise():
    found = compared(emulated("6.18"), [record("7.3", seed) for seed in FEW])

    assert len(found) == len(FEW)


def test_a_mismatch_is_explained_by_the_operations_that_led_there():
    player = emulated("7.3")

    def refusing(path, text):
        if path.endswith("/state") and text == "on":
            raise OSError(errno.EIO, "spoiled", path)
        write(path, text)

    write, player.machine.write = player.machine.write, refusing
    found = compared(player, [record("7.3", seed) for seed in FEW])

    expected = {each.seed: record("7.3", each.seed).answers[each.index] for each in found}
    one = next(each for each in found if each.states != expected[each.seed].states)
    text, state = explain("7.3", one), expected[one.seed].step.path
    assert text[0] == f"sequence {one.seed}, after {one.index + 1} operations:"
    assert text[one.index + 1] == f"  write {state} 'on': ok"
    assert "  * the answer: real EIO, emulated ok" in text
    assert f"  * {state}: real `off`, emulated `on`" in text


@pytest.fixture
def guest(monkeypatch, tmp_path):
    """Let emulated kernels play where real ones would: their boots, and who dies when."""
    deaths = {}

    def boot(directory, share):
        player, lines = emulated("7.3"), []
        records = map(load, (share / "records").read_text().splitlines())

        def announce(seed, index):
            (share / "progress").write_text(f"{seed} {index}")
            if deaths.get(seed) == index:
                del deaths[seed]
                raise GuestDied("7.3", "the guest went down", console="BUG: all is lost", output="")

        try:
            lines += replay(player, Living(player), records, announce)
        finally:
            (share / "found").write_text("".join(line_of(each) for each in lines))
        return ""

    monkeypatch.setattr(differential, "_boot", boot)
    monkeypatch.setattr(differential, "kernel", lambda series: tmp_path / "7.3.4-emulated")
    return deaths


def test_the_command_prints_one_line_a_kernel(guest, capsys):
    assert differential.main(["--seeds", "0-3", "7.3"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("kernel 7.3.4-emulated: 4 sequences, ")
    assert " operations, 0 mismatches (" in out


def test_a_kernel_that_dies_is_booted_anew_for_the_rest(guest, capsys):
    states = [
        index for index, each in enumerate(record("7.3", 1).answers) if each.step.path == "0/state"
    ]
    guest[1] = states[0]

    assert differential.main(["--seeds", "0-3", "7.3"]) == 1

    out = capsys.readouterr().out
    assert out.startswith("kernel 7.3.4-emulated: 4 sequences, ")
    assert f"sequence 1, after {states[0]} operations the kernel died:" in out
    assert "BUG: all is lost" in out


def test_seeds_are_numbers(capsys):
    with pytest.raises(SystemExit):
        differential.main(["--seeds", "x"])

    assert "--seeds takes a number" in capsys.readouterr().err
