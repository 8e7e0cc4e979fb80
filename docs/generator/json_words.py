"""The words that texts of JSON documents are taken from, by the code's own lists."""

from __future__ import annotations

from typing import get_args

import click

from damonpolicy.base.diagnostics import Severity
from damonpolicy.cli.commands.record import FORMS
from damonpolicy.cli.commands.reports import histogram, rank
from damonpolicy.daemon.jobs import reload
from damonpolicy.kernel import operation
from damonpolicy.kernel.damon.capabilities import Known
from damonpolicy.kernel.damon.features import DEVELOPMENT, FEATURES
from damonpolicy.kernel.damon.modules import MODULES
from damonpolicy.observe.reports.rank import By, Of
from damonpolicy.observe.status.doctor import Verdict
from damonpolicy.plan import plan as planned
from damonpolicy.plan.machine_state import Owner
from damonpolicy.policy.model import quotas, schemes
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.tuning.goals import Trend

__all__ = ("KERNELS", "REMARKS", "WORDS")

_FILTERS = "*/contexts/*/schemes/*/filters/*/type"


def _choices(command: click.Command, name: str) -> tuple[str, ...]:
    """Return what an option takes."""
    kind = next(each.type for each in command.params if each.name == name)
    return tuple(kind.choices) if isinstance(kind, click.Choice) else ()


WORDS: dict[str, tuple[str, ...]] = {
    "severity": get_args(Severity),
    "operations.kind": get_args(operation.Kind),
    "operations.phase": get_args(operation.Phase),
    "kdamonds.action": get_args(planned.Action),
    "kdamonds.owner": tuple(each for each in get_args(Owner) if each != "free"),
    "ops": get_args(Kdamond.model_fields["ops"].annotation),
    "schemes.action": get_args(schemes.Action),
    "filters.type": tuple(
        word for each in FEATURES for where, word in each.words if where == _FILTERS
    ),
    "metric": get_args(quotas.Metric),
    "trend": get_args(Trend),
    "status.modules": MODULES,
    "module_status.module": MODULES,
    "reload.result": get_args(reload.Kind),
    "RESULT": get_args(reload.Kind),
    "form": FORMS,
    "known": get_args(Known),
    "verdict": get_args(Verdict),
    "histograms.by": _choices(histogram.command, "what"),
    "report rank.by": get_args(By),
    "report rank.of": get_args(Of),
    "report rank.order": tuple(rank._FIRST.values()),  # noqa: SLF001 - no other place has them
}
"""By a key, or the keys above it and a key. Slots that are free are not shown."""

KERNELS = ("ops", "schemes.action", "filters.type", "metric")
"""Words that are printed as the kernel has them: a newer one may have more."""

REMARKS = {"FEATURE.since": f"the first kernel that has it, or {DEVELOPMENT}"}
"""What else the code knows of texts."""
