"""The table of features against what real kernels showed: names in BTF, files, words.

Nothing here comes from the table itself, so that a misspelt name, a wrong file or a wrong version
cannot agree with itself. The emulated kernels' BTF is made from the table: it is compared, too.
"""

from __future__ import annotations

import re

import pytest

from damonpolicy.emulated.damon import btf
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.kernel.damon.btf import damon_names
from damonpolicy.kernel.damon.features import DEVELOPMENT, FEATURES, WORDS
from damonpolicy.kernel.damon.schema import pattern
from tests.world import ROOT

OBSERVED = ROOT / "tests/guest/observed"
STRUCTS = {name for each in FEATURES for name, dot, _ in [each.btf.partition(".")] if dot}
NAMED = [each for each in FEATURES if each.btf]


def listings(kind):
    """Return the lines of the listings of a kind, without comments, by emulated version."""
    return {
        release if release.startswith("damon") else release.rpartition(".")[0]: [
            line for line in path.read_text().splitlines() if line and not line.startswith("#")
        ]
        for path in sorted(OBSERVED.glob(f"{kind}-*.txt"))
        for release in [path.stem.removeprefix(f"{kind}-")]
    }


NAMES = {version: frozenset(lines) for version, lines in listings("btf").items()}
TREES = listings("tree")
BEHAVIOUR = listings("behaviour")


def tells(version, name):
    """Return whether a listing could have a name: one of them leaves out structs named damos_."""
    kind = name.partition("_")[0] + "_"
    return "." not in name or any("." in each and each.startswith(kind) for each in NAMES[version])


def files(version):
    """Return the patterns of a kernel's files: those of DAMON's tree as `features` writes them."""
    found = set()
    for line in TREES[version]:
        path = re.sub(r"\A(/sys/kernel/mm/damon/)?admin/kdamonds/", "", line.split(" ")[0])
        found.add(path if path.startswith("/") else pattern(f"/{path}")[1:])
    return found


def words(version):
    """Return which words a kernel's files took, and which they refused: by pattern."""
    taken, refused = {}, {}
    for line in BEHAVIOUR[version]:
        if match := re.fullmatch(r"  (\S+) +ok: (.*?) ?\| refused: (.*)", line):
            where = pattern(f"*/contexts/*/{match[1]}")
            taken.setdefault(where, set()).update(match[2].split())
            refused.setdefault(where, set()).update(match[3].split())
    return taken, refused


def test_every_kernel_that_was_compared_has_its_listings():
    compared = {each.version for each in PROFILES.values() if each.known == "compared"}

    assert compared == BEHAVIOUR.keys()
    assert {*compared, "damon-next"} == NAMES.keys() == TREES.keys()


@pytest.mark.parametrize("feature", NAMED, ids=lambda each: each.name)
def test_a_name_is_in_the_btf_of_the_kernels_that_have_the_feature_and_of_no_other(feature):
    told = [version for version in NAMES if tells(version, feature.btf)]

    assert {version for version in told if feature.btf in NAMES[version]} == {
        version for version in told if PROFILES[version].has(feature.name)
    }
    assert any(feature.btf in NAMES[version] for version in told), "nobody has seen this name"


@pytest.mark.parametrize("version", NAMES)
def test_the_emulated_btf_has_the_names_of_the_real_one(version):
    names = {*WORDS.values(), *(each.btf for each in NAMED if tells(version, each.btf))}

    assert damon_names(btf.of(PROFILES[version]), STRUCTS) & names == NAMES[version] & names
    assert WORDS.keys() <= {where for each in FEATURES for where, _ in each.words}
    assert NAMES[version].issuperset(WORDS.values())


@pytest.mark.parametrize("version", TREES)
def test_a_file_is_in_the_tree_of_the_kernels_that_have_the_feature_and_of_no_other(version):
    there = files(version)

    for feature in FEATURES:
        if feature.name.startswith("module.") and version not in BEHAVIOUR:
            continue  # parameters were not listed
        for path in feature.files:
            assert (path in there) is PROFILES[version].has(feature.name), (feature.name, path)


@pytest.mark.parametrize("version", BEHAVIOUR)
def test_a_word_is_taken_by_the_kernels_that_have_the_feature_and_by_no_other(version):
    taken, refused = words(version)

    for feature in FEATURES:
        for where, word in feature.words:
            if word in taken.get(where, ()):
                assert PROFILES[version].has(feature.name), (feature.name, word)
            elif word in refused.get(where, ()):
                assert not PROFILES[version].has(feature.name), (feature.name, word)


def test_every_word_of_a_released_kernel_was_taken_by_one():
    taken = {
        (where, word)
        for version in BEHAVIOUR
        for where, found in words(version)[0].items()
        for word in found
    }
    tried = {where for where, _ in taken}

    for feature in FEATURES:
        if feature.since != DEVELOPMENT:
            assert {pair for pair in feature.words if pair[0] in tried} <= taken, feature.name
    assert {where for each in FEATURES for where, _ in each.words if each.since != DEVELOPMENT} == (
        tried & {where for each in FEATURES for where, _ in each.words} | {"*/state"}
    )
