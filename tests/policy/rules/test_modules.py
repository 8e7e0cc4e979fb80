"""Parameters of modules against those that a machine has, and what all modules have in common."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.damon.features import by_file
from damonpolicy.kernel.damon.modules import ALL as EMULATED
from damonpolicy.kernel.damon.modules import COMMIT_INPUTS, PARAMETERS, parameter_path, unwritable
from damonpolicy.policy.model.modules import Modules
from damonpolicy.policy.reading.read import read_policy
from damonpolicy.policy.rules import modules
from damonpolicy.policy.source.nodes import plain
from damonpolicy.policy.source.yaml import parse
from tests.policy.rules.test_machine import Other

RECLAIM = "damon_reclaim"


def found(parameters, machine):
    text = f"version: 1\nname: p\nmodules:\n  {RECLAIM}: {{{parameters}}}\n"
    top, _ = parse("p.yaml", text)
    read, errors = read_policy(*plain(top))
    assert not errors
    return [
        (each.code, each.span.line, each.span.column)
        for each in modules.check_machine(read.policy, read.cursor, machine)
    ]


def with_parameters(**values):
    return Other(
        hidden=("/nothing",),
        texts={parameter_path(RECLAIM, name): f"{value}\n" for name, value in values.items()},
    )


def test_pressure_that_nobody_measures():
    assert found("quota_mem_pressure_us: 1ms", Other(hidden=("/proc/pressure",))) == [
        ("DP0308", 4, 42)
    ]
    assert found("quota_mem_pressure_us: 0", Other(hidden=("/proc/pressure",))) == []


@pytest.mark.parametrize(
    ("here", "given", "expected"),
    [
        ({"max_nr_regions": 5}, "enabled: true, min_nr_regions: 8", [("DP0201", 4, 50)]),
        ({"max_nr_regions": 5}, "min_nr_regions: 8", []),
        ({"max_nr_regions": 5, "enabled": "Y"}, "min_nr_regions: 8", [("DP0201", 4, 35)]),
        ({"max_nr_regions": 5, "enabled": "Y"}, "enabled: false, min_nr_regions: 8", []),
        ({"sample_interval": 0}, "enabled: true", [("DP0222", 4, 28)]),
        ({"wmarks_high": 10}, "enabled: true", []),
        ({"wmarks_high": 10}, "enabled: true, wmarks_low: 5%", [("DP0206", 4, 46)]),
        ({"sample_interval": 900_000}, "enabled: true, autotune_monitoring_intervals: true", []),
    ],
)
def test_what_does_not_go_with_what_the_machine_has(here, given, expected):
    assert found(given, with_parameters(**here)) == expected


def test_models_and_table_have_the_same_parameters():
    for module, field in Modules.model_fields.items():
        (model, _) = field.annotation.__args__
        table = {each.name for each in PARAMETERS.values() if each.module == module}
        assert set(model.model_fields) == table


def test_every_parameter_of_the_kernels_is_one_of_ours_or_is_refused():
    known = {path: each.unit for path, each in PARAMETERS.items()}
    for each in EMULATED:
        assert (each.path in known) is not bool(unwritable(each.name)), each.path
        assert (each.kind in ("value", "pid", "commit")) is bool(unwritable(each.name)), each.path
    assert unwritable(COMMIT_INPUTS)
    assert all(by_file(path) for path in known)
