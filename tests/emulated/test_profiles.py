import re
from pathlib import Path

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.damon.table import layout
from damonpolicy.emulated.profiles import PROFILES, find, profile, versions
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.quirks import QUIRKS

OBSERVED = Path(__file__).resolve().parents[1] / "guest" / "observed"


def test_versions_are_in_order():
    released = [each for each in versions() if not each.startswith("damon")]

    assert released == sorted(released, key=lambda each: [int(part) for part in each.split(".")])
    assert released[0] == "5.18"
    assert {version for version in released if PROFILES[version].known == "compared"} == {
        path.stem.removeprefix("behaviour-").rpartition(".")[0]
        for path in OBSERVED.glob("behaviour-*.txt")
    }


def test_derived_kernels_say_so_themselves():
    for each in PROFILES.values():
        assert each.release.endswith("-derived") is (each.known == "derived")


def test_what_was_listed_alone_was_not_compared():
    def kernels(kind):
        return {path.stem.removeprefix(kind) for path in OBSERVED.glob(f"{kind}*.txt")}

    assert {each.version for each in PROFILES.values() if each.known == "listed"} == (
        kernels("tree-") - kernels("behaviour-")
    )


def test_unknown_version_names_the_nearest():
    with pytest.raises(UsageError, match=re.escape("no emulated kernel `7.33`")) as caught:
        find("7.33")

    assert "did you mean `emulated:7.3`?" in caught.value.hint
    assert "`6.12`" in caught.value.hint


def test_a_feature_begins_with_its_version():
    for version, tuner in (("6.12", False), ("6.18", False), ("7.3", True)):
        assert find(version).has("quota.tuner") is tuner
    assert not find("7.3").has("sample")


def test_quirks_have_beginnings_and_ends():
    assert find("6.18").quirk("goal.oops")
    assert not find("7.3").quirk("goal.oops")
    assert find("6.12").quirk("wmarks.hang")
    assert not find("6.12").quirk("regions.raw"), "fixed in its stable series"
    assert len({each.name for each in QUIRKS}) == len(QUIRKS)


@pytest.mark.parametrize(
    "version", ["5.18", "5.19", "6.1", "6.3", "6.6", "6.11", "6.14", "6.16", "6.17", "7.0", "7.2"]
)
def test_another_kernel_is_one_line(version):
    made = profile(version, f"{version}.0")

    assert made.features < {each.name for each in FEATURES}
    assert "operations" in layout(made).templates["*/contexts/*"]


def test_every_feature_is_in_some_kernel():
    everything = {name for each in PROFILES.values() for name in each.features}

    assert everything == {each.name for each in FEATURES}
    assert {name for each in PROFILES.values() for name in each.quirks} == {
        each.name for each in QUIRKS
    }


def test_a_development_tree_stands_on_a_version():
    made = find("damon-next")

    assert made.has("probe.weight")
    assert made.has("sample.write")
    assert not made.has("probe.sizes"), "that came later"
    assert made.quirk("sample.type")
    assert not made.quirk("goal.oops")
    assert "*/contexts/*/monitoring_attrs/sample/filters/*/tid_arr" in layout(made).files


def test_the_first_kernels_have_few_words():
    old = layout(profile("5.18", "5.18.0"))

    assert old.files["*/state"].words == ("on", "off", "update_schemes_stats")
    assert old.files["*/contexts/*/operations"].words == ("vaddr", "paddr")
    assert "lru_prio" not in old.files["*/contexts/*/schemes/*/action"].words
    assert "filters" not in old.templates["*/contexts/*/schemes/*"]
