"""Two independent mistakes in one policy are reported together.

The mistakes are those of `tests/errors`. Any two that do not say different things at one place are
merged into one document; and each one stands beside a word that is wrong in the same kdamond, or in
the same scheme.
"""

from __future__ import annotations

import itertools
import json
import tomllib

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.nodes import plain
from damonpolicy.policy.source.yaml import parse
from tests.world import ROOT

KERNELS = ("6.12", "7.3")
SHARE, PARTS = 24, 2
"""So many parts are all pairs; two are looked at, each from another place of the list."""


class Conflict(Exception):
    """Two documents say different things at one place."""


def documents():
    """The mistakes that stand in a single policy file, as plain data."""
    found = {}
    for expect in sorted((ROOT / "tests" / "errors").glob("*/expect.toml")):
        file = expect.parent / "policy.yaml"
        command = tomllib.loads(expect.read_text())["command"]
        if expect.parent.name.endswith("-without-end"):
            continue  # a stated limit ends the reading of the whole policy
        if command[-1:] == ["policy.yaml"] or ("policy.yaml" in command and file.exists()):
            top, errors = parse("p.yaml", file.read_text(errors="replace"))
            if top is not None and not errors:
                found[expect.parent.name] = plain(top)[0]
    return found


def merged(one, other):
    """Both in one; items of lists that have the same name are merged, others stand side by side."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys()}
        return {**one, **other, **both}
    if one == other:
        return one
    if isinstance(one, list) and isinstance(other, list) and all(map(named, (*one, *other))):
        names = [each["name"] for each in other]
        if len({*names}) == len(names):
            rest = [each for each in other if each["name"] not in [item["name"] for item in one]]
            by_name = {each["name"]: each for each in other}
            return [merged(each, by_name.get(each["name"], {})) for each in one] + rest
    raise Conflict


def named(item):
    return isinstance(item, dict) and isinstance(item.get("name"), str)


@pytest.fixture(scope="module")
def kernels():
    machines = [EmulatedMachine.create(each) for each in KERNELS]
    return [(each, detect(each, snapshot(each))) for each in machines]


def told(document, kernel):
    """What is said of a policy on a kernel: errors by code and message."""
    machine, capabilities = kernel
    loaded = load([SourceFile("p.yaml", json.dumps(document))], Overrides(), machine=machine)
    _, found = compile_policies(loaded, capabilities, machine, Upkeep(unfed=True))
    return {
        (each.code, each.message) for each in (*loaded.found, *found) if each.severity == "error"
    }


CASES = documents()

ABSENT = {"DP0102", "DP0120", "DP0207", "DP0217", "DP0218", "DP0233", "DP0238", "DP0245"}
"""There the mistake is a missing key (or a name), which the other document has."""
ELSEWHERE = {"alternative-not-for-this-kernel", "when-both", "optional-left-out"}
"""Beside them a part is not for the kernel at all, or may be left out."""
UNTIMED = {
    "duration-unit", "duration-without-unit", "interval-zero", "interval-zero-of-each",
    "mapping-expected", "auto-tune-excludes-start", "sample-above-aggregation",
    "probe-weights-overflow", "probe-with-too-many-samples", "module-lacking-parameters",
    "module-tuned-intervals", "samples-above-32-bits", "applied-more-often-than-sampled",
    "unknown-key-of-the-kernel",
}  # fmt: skip
"""They say other intervals, or none that could be read."""
WEIGHTED = {
    "probe-weights-overflow", "probe-with-too-many-samples", "probe-with-weight-beside-accesses",
    "weight-beside-access-rates",
}  # fmt: skip
REPEATED = {each for each in CASES if each.startswith("for-each-")}
NAMING = {each for each, document in CASES.items() if "vars" in document}
"""They may have a variable of the same name."""
BY_SETTINGS = {each for each in CASES if each.startswith("module-")}
"""Where a module has parameters in both places, only that is reported of them."""
UNITS = {each for each in CASES if "addr-unit" in each}
"""Beside them sizes are not in bytes."""
WAITING = {each for each, document in CASES.items() if '"when_absent"' in json.dumps(document)}
"""What is missing there may be waited for."""
LOOKING = {each for each, document in CASES.items() if '"accesses"' in json.dumps(document)}
"""They say other accesses, or none that could be read."""
FILTERED = {
    each
    for each, document in CASES.items()
    if each.startswith("filter")
    or each in ("unknown-filter", "quota-unlimited-on-stat")
    or any(word in json.dumps(document) for word in ("memcg", "cgroup", "node", '"to"'))
}
"""They may name a cgroup or a node, which could be waited for."""
DEPENDS = {
    "DP0201": UNTIMED | BY_SETTINGS,
    "DP0202": BY_SETTINGS,
    "DP0203": UNTIMED | BY_SETTINGS,
    "DP0208": FILTERED,
    "DP0220": UNTIMED,
    "DP0259": UNTIMED | UNITS,
    "DP0261": UNTIMED,
    "DP0262": UNTIMED,
    **dict.fromkeys(("DP0301", "DP0303", "DP0304", "DP0310"), WAITING),
    "DP0234": UNTIMED | WEIGHTED,
    "DP0021": REPEATED,
    "DP0030": REPEATED | NAMING,
    "DP0257": set(CASES),  # a loop names parts of its policy, of which there are others then
    "DP0229": {"optional-accesses-with-action"} | LOOKING,
    "DP0401": {"optional-accesses-with-action"},
    "DP0253": {"module-lacking", "module-parameters-that-report"},
}
"""By code, the documents beside which it is not so, or cannot be known."""


def independent(other, errors):
    """Those of the errors that do not depend on what the other document says."""
    return {
        each
        for each in errors
        if each[0] not in ABSENT and other not in DEPENDS.get(each[0], set()) | ELSEWHERE
    }


def test_there_are_enough_documents():
    assert len(CASES) > 200


@pytest.mark.parametrize("part", range(PARTS))
def test_two_mistakes_are_told_together(kernels, part):
    """A part of all pairs; each is checked on one kernel, in turns."""
    pairs = 0
    for number, (one, other) in enumerate(itertools.combinations(CASES, 2)):
        if number % SHARE != part:
            continue
        try:
            both = merged(CASES[one], {**CASES[other], "name": CASES[one].get("name")})
        except Conflict:
            continue
        kernel = kernels[pairs % len(kernels)]
        pairs += 1
        expected = independent(other, told(CASES[one], kernel)) | independent(
            one, told(CASES[other], kernel)
        )
        assert expected <= told(both, kernel), (one, other)

    assert pairs > 100


NEEDS = {
    ("kdamonds", "ops"): {
        "DP0104", "DP0208", "DP0209", "DP0212", "DP0213", "DP0216", "DP0224", "DP0229", "DP0231",
        "DP0235", "DP0236", "DP0237", "DP0257", "DP0263", "DP0306", "ignores", "takes", "tells", "accepts",
    },
    ("kdamonds", "name"): {"DP0207", "DP0223", "DP0257"},
    ("schemes", "action"): {
        "DP0104", "DP0212", "DP0213", "DP0215", "DP0216", "DP0217", "DP0218", "DP0223", "DP0228",
        "DP0232", "DP0249", "DP0257", "DP0263", "ignores", "accepts",
    },
    ("schemes", "name"): {"DP0257"},
}  # fmt: skip
"""By what is wrong beside them, codes of rules that need it; of DP0401 words of the messages."""


def beside(document, place, key):
    """The document with a wrong word in every kdamond, or in every scheme."""
    document = json.loads(json.dumps(document))
    for kdamond in document.get("kdamonds", ()):
        if isinstance(kdamond, dict):
            every = [kdamond] if place == "kdamonds" else kdamond.get("schemes", ())
            for each in every:
                if isinstance(each, dict) and key in each:
                    each[key] = "no word!"
    return document


@pytest.mark.parametrize(("place", "key"), NEEDS)
def test_a_wrong_word_hides_only_what_needs_it(kernels, place, key):
    for name, document in CASES.items():
        wrong = beside(document, place, key)
        if wrong == document:
            continue
        for kernel in kernels:
            missing = told(document, kernel) - told(wrong, kernel)
            assert not [each for each in missing if not needs(NEEDS[place, key], *each)], name


def needs(known, code, message):
    """Return whether a rule is one of those."""
    return code in known or (code == "DP0401" and not known.isdisjoint(message.split()))
