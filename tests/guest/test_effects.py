"""What commits put into effect: real kernels' answers, the quirks, and the emulated kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.quirks import QUIRKS

from .effects import OBSERVED, load
from .inside.effects.all import UNOBSERVED, probes
from .inside.effects.lab import ask
from .inside.effects.places import emulated
from .kernels import KNOWN

_TREES = OBSERVED.parent


def _file(cell: str) -> str:
    """Return the pattern of a cell without its word and note."""
    return re.split(r" [=(]", cell)[0]


def _writable(series: str) -> set[str]:
    """Return the patterns of the files that can be written, as a real kernel listed them."""
    (listing,) = _TREES.glob(f"tree-{series}.*.txt")
    found = re.findall(r"^admin/kdamonds/(\S+) 0600", listing.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"(?<![^/])\d+(?![^/])", "*", path) for path in found}


# page-level filters know nothing of addresses, core filters nothing of pages: those files are
# there in both directories, and read by none
_DEAF = (
    r".*/core_filters/\*/(memcg_path|min|max)",
    r".*/ops_filters/\*/(addr_start|addr_end|damon_target_idx)",
)
_SLEEPS = "*/contexts/*/schemes/*/watermarks/interval_us"


@pytest.mark.parametrize("series", KNOWN)
def test_every_writable_file_is_probed_or_cannot_be(series: str) -> None:
    asked = {_file(cell) for cell in load(series)}

    missing = {
        path
        for path in _writable(series) - asked - set(UNOBSERVED)
        if not any(re.fullmatch(each, path) for each in _DEAF)
    }

    # where a commit waits for a scheme that wakes up, none of them may sleep
    assert missing == (set() if PROFILES[series].has("commit.checked") else {_SLEEPS})
    assert asked & set(UNOBSERVED) == set()


@pytest.mark.parametrize("series", KNOWN)
def test_every_word_is_probed(series: str) -> None:
    words = {
        f"{path} = {word}"
        for each in FEATURES
        if PROFILES[series].has(each.name)
        for path, word in each.words
        if not path.endswith("/state")
    }

    assert words - set(load(series)) == set()


@pytest.mark.parametrize("series", KNOWN)
def test_every_answer_is_clear(series: str) -> None:
    """What was not seen says why."""
    answers = load(series).values()

    assert {each.partition(": ")[0] for each in answers} <= {"yes", "no", "never", "unobserved"}
    assert all(each.partition(": ")[2] for each in answers if each.startswith("unobserved"))


def _unobserved(answers: Mapping[str, str]) -> set[str]:
    return {cell for cell, answer in answers.items() if answer.startswith("unobserved")}


def _ignored(answers: Mapping[str, str]) -> set[str]:
    return {cell for cell, answer in answers.items() if answer == "no"}


@pytest.mark.parametrize("series", KNOWN)
def test_what_a_commit_does_not_carry_is_a_quirk_of_that_kernel(series: str) -> None:
    told = {cell for each in QUIRKS if PROFILES[series].quirk(each.name) for cell in each.cells}

    assert _ignored(load(series)) == told - _unobserved(load(series))


def test_each_quirk_about_commits_was_observed() -> None:
    seen = {cell for series in KNOWN for cell in _ignored(load(series))}

    assert {cell for each in QUIRKS for cell in each.cells} == seen


@pytest.mark.parametrize("series", KNOWN)
def test_emulated_kernels_answer_as_the_real_ones_do(series: str) -> None:
    answers = load(series)
    with emulated(series) as lab:
        found = {
            probe.cell: ask(lab, probe) for probe in probes(lab.places) if not probe.unmodelled
        }
        unmodelled = {probe.cell for probe in probes(lab.places) if probe.unmodelled}
    unmodelled |= _unobserved(answers)

    assert lab.machine.poisoned == ""  # type: ignore[attr-defined]
    assert {cell: each for cell, each in found.items() if each and cell not in unmodelled} == {
        cell: each for cell, each in answers.items() if cell not in unmodelled
    }
