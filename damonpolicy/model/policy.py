"""The top of a policy file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from damonpolicy.model.kdamond import Kdamond
from damonpolicy.model.scalars import Model, Name, Text

__all__ = ("Policy",)


class Policy(Model):
    """One policy: kdamonds, and settings that go with them in one transaction."""

    version: Literal["1"]
    name: Name
    description: Text = ""
    vars: dict[Name, Text] = Field(default_factory=dict)
    kdamonds: tuple[Kdamond, ...] = ()
    settings: dict[Text, Text] = Field(default_factory=dict)
    tuning: tuple[dict[str, Any], ...] = ()
