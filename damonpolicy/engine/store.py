"""The state file, and the generations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from damonpolicy.engine.places import Places, damaged, read_json, sync_directory, write_json
from damonpolicy.errors import DamonPolicyError
from damonpolicy.plan.compiled import CompiledPolicy
from damonpolicy.plan.managed import Managed

__all__ = ("Generation", "NoGeneration", "Store")

_KEPT = 50


class NoGeneration(DamonPolicyError):
    """There is no generation of a number; only who typed that number made a mistake."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A whole managed set, as it was applied; ``when`` is seconds since the epoch.

    ``awaits`` is whether nobody has confirmed it, though it was to be confirmed; ``instead_of``
    is the generation that it took the place of because of that, 0 for none.
    """

    number: int
    when: float
    reason: str
    release: str
    policies: Mapping[str, CompiledPolicy]
    awaits: bool = False
    instead_of: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "format": 1,
            "number": self.number,
            "when": self.when,
            "reason": self.reason,
            "release": self.release,
            "policies": {name: each.to_json() for name, each in self.policies.items()},
            "awaits": self.awaits,
            "instead_of": self.instead_of,
        }


class Store:
    """Reads and writes what damonpolicy remembers of a machine."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def managed(self, boot_id: str) -> Managed:
        """Return what is managed; nothing is after a reboot, but the numbering goes on."""
        data = read_json(self.places.state)
        if data is None:
            return Managed(boot_id)
        try:
            managed = Managed.from_json(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(self.places.state, error) from error
        return managed if managed.boot_id == boot_id else Managed(boot_id)

    def save(self, managed: Managed) -> None:
        """Replace the state file: the commit point of a transaction."""
        write_json(self.places.state, managed.to_json())

    def numbers(self) -> list[int]:
        """Return the numbers of all generations."""
        try:
            names = os.listdir(self.places.generations)
        except FileNotFoundError:
            return []
        except OSError as error:
            message = f"cannot read `{self.places.generations}`: {(error.strerror or '').lower()}"
            raise DamonPolicyError(message) from error
        stems = (name.removesuffix(".json") for name in names)
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def generation(self, number: int) -> Generation:
        """Return one generation; number 0 is the empty one before the first.

        Raises NoGeneration where there is none of that number.
        """
        if number == 0:
            return Generation(0, 0.0, "nothing applied", "", {})
        path = self.places.generations / f"{number}.json"
        data = read_json(path)
        if data is None:
            known = self.numbers()
            span = (
                f"{known[0]} to {known[-1]}"
                if known[1:]
                else f"only {known[0]}"
                if known
                else "none"
            )
            hint = f"there is {span}"
            message = f"there is no generation {number}: `{path}` is missing"
            raise NoGeneration(message, hint=hint)
        try:
            if data["number"] != number:
                raise damaged(path, f"it is generation {data['number']}")
            policies = {n: CompiledPolicy.from_json(each) for n, each in data["policies"].items()}
            return Generation(
                data["number"],
                data["when"],
                data["reason"],
                data["release"],
                policies,
                bool(data["awaits"]),
                int(data["instead_of"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, error) from error

    def write_generation(self, generation: Generation) -> None:
        """Keep a generation, and forget the oldest where there are many."""
        path = self.places.generations / f"{generation.number}.json"
        write_json(path, generation.to_json())
        protected = {self.confirmed(), generation.number}
        for number in self.numbers()[:-_KEPT]:
            if number not in protected:
                self.drop_generation(number)

    def drop_generation(self, number: int) -> None:
        """Forget a generation that was never reached."""
        path = self.places.generations / f"{number}.json"
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)

    def confirmed(self) -> int:
        """Return the generation that comes back at boot, 0 for none."""
        data = read_json(self.places.confirmed)
        number = data.get("generation", 0) if data else 0
        return number if isinstance(number, int) else 0

    def confirm(self, number: int) -> None:
        """Let a generation come back at boot."""
        generation = self.generation(number)
        if generation.awaits:
            path = self.places.generations / f"{number}.json"
            write_json(path, replace(generation, awaits=False).to_json())
        if self.confirmed() != number:
            write_json(self.places.confirmed, {"generation": number})
