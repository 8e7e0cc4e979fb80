import pytest

from damonpolicy.emulated.damon.btf import encode, of
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.kernel.damon.btf import damon_names
from damonpolicy.kernel.damon.features import EMULATED, FEATURES, WORDS

STRUCTS = {name for each in FEATURES for name, dot, _ in [each.btf.partition(".")] if dot}


@pytest.mark.parametrize("version", PROFILES)
def test_names_are_those_of_the_features(version):
    profile = PROFILES[version]

    assert damon_names(of(profile), STRUCTS) == {EMULATED, *WORDS.values()} | {
        feature.symbol for feature in FEATURES if profile.has(feature.name)
    }


def test_other_names_are_not_daemons():
    assert damon_names(encode(["damon_x.y", "DAMON_Z", "other.z", "OTHER"]), ["damon_x"]) == {
        "damon_x.y",
        "DAMON_Z",
    }


def test_the_file_is_binary(kernel):
    data = kernel.machine.read_bytes("/sys/kernel/btf/vmlinux")

    assert data[:2] == b"\x9f\xeb"
    assert damon_names(data, STRUCTS)
