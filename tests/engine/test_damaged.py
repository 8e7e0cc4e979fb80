"""Damaged files of ours are named, and never used."""

from __future__ import annotations

import json

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine import journal
from damonpolicy.engine.state_directory import write_json
from damonpolicy.engine.store import Store
from tests.engine.site import CHANGING, KSM_RUN, shipped, truncated

TEXT = """\
version: 1
name: one
modules: {{damon_stat: {{enabled: false}}}}
kdamonds:
  - name: a
    ops: vaddr
    targets: [{{process: {{name: nginx}}}}]
    schemes: [{{name: s, action: stat, max_snapshots: {count}}}]
"""


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def flip(path):
    path.write_bytes(path.read_bytes().replace(b"nr_kdamonds", b"nr_kdamondz", 1))


def other_header(path):
    path.write_bytes(journal._line({"transaction": "x"}))


def not_text(path):
    path.write_bytes(b"\xff\xfe\x00")


def empty(path):
    path.write_bytes(b"")


def list_instead(path):
    path.write_text("[1, 2]")


def deep(path):
    path.write_text("[" * 100_000)


def edited(path):
    data = json.loads(path.read_text())
    data["generation" if "generation" in data else "number"] = 17
    path.write_text(json.dumps(data))


def wrong_shape(path):
    """What has the right checksum is still not believed."""
    data = json.loads(path.read_text())
    del data["digest"]
    write_json(path, dict.fromkeys(data, 5) | {"format": data.get("format", 0)})


def without_number(path):
    """A count that no kernel would say; the checksum is right."""
    _rewritten(
        path, lambda kdamond: kdamond["files"].update({"contexts/0/schemes/nr_schemes": "x"})
    )


def without_processes(path):
    def change(kdamond):
        for target in kdamond["targets"]:
            target["selector"] = None

    _rewritten(path, change)


def _rewritten(path, change):
    data = json.loads(path.read_text())
    del data["digest"]
    for policy in data["policies"].values():
        for kdamond in policy["kdamonds"]:
            change(kdamond)
    write_json(path, data)


def directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, other_header, not_text, empty])
def test_a_damaged_journal_stops_every_change(crashed, damage):
    damage(crashed.places.journal)
    between = crashed.world.look()
    for words in (*CHANGING, ("status",), ("plan", shipped("ksm"))):
        outcome = crashed.run(*words)
        if words in CHANGING:
            assert outcome.code == ExitCode.FAILED, words
        assert "journal` is damaged" in outcome.err
        assert "hint: move it away" in outcome.err
    assert crashed.world.look() == between
    assert "journal` is damaged" in crashed.run("doctor").out


def test_a_journal_that_cannot_be_read(crashed):
    directory(crashed.places.journal)

    for words in CHANGING:
        assert "journal` is not a regular file" in crashed.run(*words).err, words


def told(damage):
    """The exit code; what is not a regular file is not opened."""
    return ExitCode.NO_PERMISSION if damage is directory else ExitCode.FAILED


SPOILT = [truncated, not_text, empty, list_instead, deep, edited, wrong_shape]
DAMAGES = [*SPOILT, directory]


@pytest.mark.parametrize("damage", [*DAMAGES, without_number])
def test_a_damaged_state_file_stops_every_change(site, damage):
    site.done("apply", shipped("ksm"))
    before = site.world.look()
    damage(site.places.state)
    damage(site.places.state_copy)
    for words in CHANGING:
        outcome = site.run(*words)
        assert outcome.code == told(damage), words
        assert "state.json`" in outcome.err
        assert outcome.err.count("error[") == 1
    assert site.world.look() == before
    examined = site.run("doctor")
    assert examined.code == ExitCode.FAILED
    assert examined.out.count("state.json`") == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_generation_stops_only_who_needs_it(site, damage):
    site.done("apply", shipped("monitor"))
    site.done("apply", shipped("ksm"))
    damage(site.places.generations / "1.json")
    before = site.world.look()
    for words in (("rollback", "1"), ("rollback",)):
        outcome = site.run(*words)
        assert outcome.code == told(damage), words
        assert "1.json`" in outcome.err
    assert site.world.look() == before
    site.done("apply", shipped("ksm"), "--set", "cold_for=5m")
    site.done("remove", "monitor")
    site.done("stop", "--all")


def test_a_generation_under_another_ones_name_is_damaged(site):
    site.done("apply", site.setting("a", 1))
    first = site.places.generations / "1.json"
    (site.places.generations / "4.json").write_bytes(first.read_bytes())
    outcome = site.run("rollback", "4")

    assert outcome.code == ExitCode.FAILED
    assert "4.json` is damaged: it is generation 1" in outcome.err


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each is not wrong_shape])
def test_a_damaged_confirmation(site, damage):
    site.done("apply", shipped("ksm"))
    site.machine.reboot()
    damage(site.places.confirmed)
    outcome = site.run("apply", "--boot")

    assert outcome.code == told(damage)
    assert "confirmed.json`" in outcome.err
    assert site.run("doctor").code == ExitCode.FAILED


def without_checksum(path):
    """What somebody types who wants another generation to come back."""
    path.write_text('{"generation": 1}')


@pytest.mark.parametrize("damage", [*SPOILT, without_checksum])
def test_a_change_writes_a_damaged_confirmation_again(site, damage):
    """A2: it is behind the commit point, so it neither fails the change nor loses its generation."""
    site.done("apply", site.setting("a", 1))
    damage(site.places.confirmed)
    outcome = site.done("apply", site.setting("a", 2))

    assert "will not come back at boot" not in outcome.out
    assert Store(site.places).numbers() == [1, 2]
    assert Store(site.places).confirmed() == 2
    assert not site.places.journal.exists()
    site.done("apply", site.setting("a", 0))
    assert "Back to generation 2" in site.done("rollback").out
    assert site.read(KSM_RUN) == "2"
    site.machine.reboot()
    site.done("apply", "--boot")
    assert site.read(KSM_RUN) == "2"


def test_a_change_goes_on_beside_a_confirmation_that_cannot_be_written(site):
    """A2: a note says so, and the next command makes up for it."""
    site.done("apply", site.setting("a", 1))
    directory(site.places.confirmed)
    outcome = site.done("apply", site.setting("a", 2))

    assert "generation 2 will not come back at boot" in outcome.out
    assert site.read(KSM_RUN) == "2"
    assert Store(site.places).numbers() == [1, 2]
    site.places.confirmed.rmdir()
    site.done("recover")
    assert Store(site.places).confirmed() == 2
    assert Store(site.places).numbers() == [1, 2]


def test_a_confirmed_generation_that_is_gone(site):
    site.done("apply", shipped("ksm"))
    (site.places.generations / "1.json").unlink()
    site.machine.reboot()

    assert "there is no generation 1" in site.run("apply", "--boot").err
    assert "there is no generation 1" in site.run("doctor").out


@pytest.mark.parametrize("damage", [without_number, without_processes])
def test_a_generation_that_no_policy_compiles_to(site, damage):
    text = TEXT.format(count=1)
    site.done("apply", site.policy("one", text))
    site.done("apply", site.policy("one", TEXT.format(count=2)))
    damage(site.places.generations / "1.json")
    outcome = site.run("rollback", "1")

    assert outcome.code == ExitCode.FAILED
    assert "1.json` is damaged" in outcome.err
