"""The top of a policy file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.modules import Modules
from damonpolicy.policy.model.scalars import Model, Name, Text
from damonpolicy.policy.model.tuning import Tuning

__all__ = ("Policy",)


class Policy(Model):
    """One policy: kdamonds, and settings that are applied with them in one transaction."""

    version: Literal["1"]
    """The version of the policy language: 1."""
    name: Name
    """The name that `status`, `remove` and other commands use."""
    description: Text = ""
    """Its purpose, in a sentence."""
    on_drift: Literal["report", "repair"] = "report"
    """What the service does about drift: changes by someone else to what was committed."""
    vars: dict[Name, Text] = Field(default_factory=dict)
    """Variables for `{{ templates }}`; `--vars-file` and `--set` override them."""
    kdamonds: tuple[Kdamond, ...] = ()
    """The memory to monitor, and the actions; in the kernel's order."""
    modules: Modules = Field(default_factory=Modules)
    """DAMON's own users in the kernel: damon_reclaim, damon_lru_sort, damon_stat."""
    settings: dict[Text, Text] = Field(default_factory=dict)
    """Files below /sys and /proc to set in the same transaction, and to restore at the end."""
    tuning: tuple[Tuning, ...] = ()
    """Loops that move a quota or a setting between bounds; `damonpolicy run` does it."""
