"""Yes, no or unknown, each with its source; nothing is written to find out."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.damon.btf import encode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Answer, detect
from damonpolicy.kernel.damon.features import (
    DEVELOPMENT,
    FEATURES,
    by_file,
    by_word,
    first_kernel,
    needed,
    siblings,
)
from damonpolicy.kernel.damon.tree import snapshot
from tests.guest.copied import copied
from tests.world import BTF, KERNELS, STAT_OFF, World, in_memory_directory

SCHEME = "0/contexts/0/schemes/0"


@pytest.fixture
def without_btf(monkeypatch):
    """A kernel that was built without type information."""
    real = EmulatedMachine.read_bytes

    def read_bytes(self, path):
        if path == BTF:
            raise FileNotFoundError(path)
        return real(self, path)

    monkeypatch.setattr(EmulatedMachine, "read_bytes", read_bytes)


def ask(world):
    return detect(world.machine, snapshot(world.machine))


@pytest.mark.parametrize("kernel", KERNELS)
def test_type_information_answers_what_files_do_not(kernel):
    world = World.make(kernel)
    answers = ask(world)
    profile = world.machine.profile

    for feature in FEATURES:
        answer = answers.answers[feature.name]
        assert answer.known == ("yes" if profile.has(feature.name) else "no"), feature.name
    assert {answer.source for answer in answers.answers.values()} == {"file", "btf"}
    assert not world.machine.log
    world.close()


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_it_what_is_not_visible_is_unknown(kernel, without_btf):
    world = World.make(kernel)
    answers = ask(world)
    profile = world.machine.profile

    assert answers.known("sysfs") == "yes"
    assert answers.answers["filters"] == Answer("unknown", "not visible")
    assert answers.has("filters"), "it is worth a try"
    for feature in FEATURES:
        if answers.known(feature.name) != "unknown":
            assert (answers.known(feature.name) == "yes") is profile.has(feature.name)
    assert {answer.source for answer in answers.answers.values()} == {"file", "not visible"}
    world.close()


@pytest.mark.parametrize("kernel", KERNELS)
def test_files_that_someone_made_answer_as_well(kernel, without_btf):
    world = World.make(kernel)
    before = ask(world)
    world.foreign(on=False)
    after = ask(world)
    profile = world.machine.profile

    assert before.known("scheme.apply_every") == "unknown"
    assert after.answers["scheme.apply_every"] == Answer("yes", "file")
    assert after.known("filters.layers") == ("yes" if profile.has("filters.layers") else "no")
    assert after.known("filter.allow") == "unknown", "nobody made a filter"
    for feature in FEATURES:
        if after.known(feature.name) != "unknown":
            assert (after.known(feature.name) == "yes") is profile.has(feature.name), feature.name
    world.close()


def test_damaged_type_information_counts_as_none(tmp_path):
    machine = copied(tmp_path, {BTF: "nonsense"})

    assert detect(machine, {"nr_kdamonds": "0"}).known("filter.allow") == "unknown"


def test_names_in_the_type_information_decide(tmp_path):
    machine = copied(tmp_path, {BTF: ""})
    (tmp_path / BTF.lstrip("/")).write_bytes(encode(["damon_sysfs_scheme_filter.allow"]))
    answers = detect(machine, {"nr_kdamonds": "0"})

    assert answers.answers["filter.allow"] == Answer("yes", "btf")
    assert answers.answers["filter.young"] == Answer("no", "btf")


def test_a_refusal_is_remembered():
    world = World.make("7.3")
    before = ask(world)
    after = before.without("filters")

    assert before.known("filters") == "yes"
    assert after.answers["filters"].known == "no"
    assert not after.has("filters")
    assert before.digest != after.digest
    assert ask(world).digest == before.digest
    world.close()


def test_what_can_be_seen_later_is_learned(without_btf):
    world = World.make("6.12")
    before = ask(world).without("filters")
    world.foreign(on=False)
    after = before.learned(world.machine)

    assert before.known("scheme.filter_passed") == "unknown"
    assert after.answers["scheme.filter_passed"] == Answer("no", "file")
    assert after.answers["filters"] == before.answers["filters"], "what is known stays"
    world.close()


def test_nothing_is_learned_from_a_tree_that_cannot_be_read(tmp_path):
    before = detect(copied(tmp_path, {}), {"nr_kdamonds": "0"})

    assert before.learned(copied(tmp_path / "x", {})) is before


def test_the_document_names_every_feature():
    world = World.make("6.12")
    document = ask(world).to_json()

    assert list(document) == [feature.name for feature in FEATURES]
    assert document["sysfs"] == {
        "known": "yes",
        "source": "file",
        "since": "5.18",
        "commit": "c951cd3b8901",
        "what": "DAMON's sysfs interface",
    }
    assert document["filter.anon"]["commit"] is None
    world.close()


def test_features_are_found_by_file_and_word():
    where = "*/contexts/*/schemes/*"

    assert by_file(f"{where}/apply_interval_us").name == "scheme.apply_every"
    assert by_file(f"{where}/action") is None
    assert by_word(f"{where}/action", "migrate_hot").name == "action.migrate_hot"
    assert by_word(f"{where}/action", "stat") is None
    assert [f.name for f in needed(f"{where}/core_filters/*/type", "addr")] == [
        "filters.layers",
        "filter.addr",
    ]
    assert needed(f"{where}/action", "stat") == []


def test_the_table_has_no_doubles():
    names = [feature.name for feature in FEATURES]
    files = [file for feature in FEATURES for file in feature.files]
    words = [pair for feature in FEATURES for pair in feature.words]

    for each in (names, files, words):
        assert len(set(each)) == len(each)
    for feature in FEATURES:
        assert feature.files or feature.words or feature.btf
        sentence = first_kernel(feature.name)
        expected = "only the development tree" if feature.since == DEVELOPMENT else feature.since
        assert expected in sentence


class Renamed(EmulatedMachine):
    """A kernel of the development tree that calls its filters of accesses by other names."""

    def read_bytes(self, path):
        return super().read_bytes(path).replace(b"\0DAMON_FILTER_TYPE_", b"\0DAMON_SIFTER_TYPE_")


def test_a_word_whose_file_is_there_is_unknown_where_its_names_are_others():
    world = World(Renamed.create("damon-next"), in_memory_directory())
    before = ask(world)
    world.write(STAT_OFF, "N")
    world.write("nr_kdamonds", "1")
    world.write("0/contexts/nr_contexts", "1")
    world.write("0/contexts/0/monitoring_attrs/sample/filters/nr_filters", "1")
    after = ask(world)

    for answers in (before, after):
        assert answers.known("sample") == "yes"
        for name in ("sample.write", "sample.cpus", "sample.threads", "probe.anon"):
            assert answers.known(name) == "unknown"
            assert answers.has(name), "it is worth a try"
        assert answers.known("filter.anon") == "yes", "what is named so is known"
    world.close()


@pytest.mark.parametrize("kernel", ["5.18", "6.12", "7.3"])
def test_a_word_that_has_no_name_among_others_is_no(kernel):
    world = World.make(kernel)
    answers = ask(world)
    profile = world.machine.profile

    assert answers.known("action.collapse") == ("yes" if profile.has("action.collapse") else "no")
    for name in ("sample.write", "probe.pgidle_unset", "filter.probe_hits_wsum"):
        assert answers.known(name) == "no", name
    world.close()


def test_siblings_are_the_names_of_the_words_of_a_file():
    by_name = {each.name: each for each in FEATURES}

    assert siblings(by_name["sample.write"]) == {
        "DAMON_FILTER_TYPE_WRITE", "DAMON_FILTER_TYPE_CPUMASK", "DAMON_FILTER_TYPE_THREADS",
    }  # fmt: skip
    assert "DAMOS_STAT" in siblings(by_name["action.collapse"])
    assert "DAMON_SYSFS_CMD_ON" in siblings(by_name["commit"])
    assert siblings(by_name["refresh"]) == frozenset()
