"""The state file, and the generations."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from damonpolicy.base import log, typed
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.engine import state_directory as files
from damonpolicy.engine.state_directory import Places, damaged, read_json, write_json
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import Managed, agree

__all__ = ("Generation", "NoGeneration", "Store")

_KEPT = 50

_GROWTH = 1 << 16
"""The most bytes by which a state file may grow in one transaction."""


class NoGeneration(DamonPolicyError):
    """Raised for a generation number that does not exist, which the user mistyped."""


@dataclass(frozen=True, slots=True)
class Generation(typed.Kept):
    """A whole managed set as applied; ``when`` is seconds since the epoch.

    ``awaits`` is whether it was to be confirmed and is not yet; ``instead_of`` is the unconfirmed
    generation that it replaced, 0 for none.
    """

    FORMAT = 1

    number: int
    when: float
    reason: str
    release: str
    policies: Mapping[str, CompiledPolicy]
    awaits: bool = False
    instead_of: int = 0

    def __post_init__(self) -> None:
        agree(self.policies)


class Store:
    """The store of what damonpolicy remembers about a machine."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._damage = ""
        """The reason why the copy of the state file was read."""

    def managed(self, boot_id: str) -> Managed:
        """Return the managed set; it is empty after a reboot, but the numbering continues.

        If somebody has damaged the state file, its copy is read.
        """
        found, damage = self._kept()
        if damage:
            log.warning("state", path=str(self.places.state), reason=damage)
            self._damage = damage
        return found if found is not None and found.boot_id == boot_id else Managed(boot_id)

    def _kept(self) -> tuple[Managed | None, str]:
        """Return the content of the state file; if it is damaged, of its copy, and why."""
        try:
            return self._read(self.places.state), ""
        except DamonPolicyError as error:
            with suppress(DamonPolicyError):
                found = self._read(self.places.state_copy)
                if found is not None:
                    return found, error.message
            raise

    def _read(self, path: Path) -> Managed | None:
        data = read_json(path)
        if data is None:
            return None
        try:
            return Managed.from_json(data)
        except ValueError as error:
            raise damaged(path, error) from error

    def mended(self, managed: Managed) -> list[str]:
        """Write a damaged state file again; returns what was done, for the user."""
        damage, self._damage = self._damage, ""
        if not damage:
            return []
        try:
            self.save(managed)
        except DamonPolicyError:
            return [f"{damage}: its copy is used"]
        return [f"{damage}: it was written again from its copy"]

    def transaction(self) -> str:
        """Return the transaction of the state file, or of its copy if it is damaged.

        Raises DamonPolicyError if both are damaged.
        """
        found, _ = self._kept()
        return found.transaction if found else ""

    def reserve(self, managed: Managed) -> None:
        """Reserve space for the next state file, so that the commit point cannot lack it."""
        size = files.size_of(managed.to_json()) * 2 + _GROWTH
        files.reserve(self.places.state, size)

    def unreserve(self) -> None:
        """Release that space."""
        files.unreserve(self.places.state)

    def save(self, managed: Managed) -> None:
        """Replace the state file: the commit point of a transaction.

        The file itself decides, not the result of the calls. Raises DamonPolicyError.
        """
        try:
            write_json(self.places.state, managed.to_json())
        except DamonPolicyError:
            if not self._holds(managed):
                raise
        self.copy()

    def _holds(self, managed: Managed) -> bool:
        """Return whether the state file has this content."""
        try:
            return self._read(self.places.state) == managed
        except DamonPolicyError:
            return False

    def copy(self) -> None:
        """Write the copy of the state file, or remove a copy that cannot be updated."""
        try:
            data = read_json(self.places.state)
            if data is not None:
                write_json(self.places.state_copy, data)
        except DamonPolicyError as error:
            log.warning("no copy", path=str(self.places.state_copy), reason=error.message)
            files.forget(self.places.state_copy)

    def forget(self) -> bool:
        """Remove a state file that cannot be written, and its copy; return whether that worked."""
        files.forget(self.places.state_copy)
        files.forget(self.places.state)
        return not os.path.lexists(self.places.state)

    def numbers(self) -> list[int]:
        """Return the numbers of all generations."""
        try:
            names = os.listdir(self.places.generations)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.cannot("read", self.places.generations, error) from error
        stems = (name.removesuffix(".json") for name in names)
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def generation(self, number: int) -> Generation:
        """Return one generation; number 0 is the empty one before the first.

        Raises NoGeneration if there is no such number.
        """
        if number == 0:
            return Generation(0, 0.0, "nothing applied", "", {})
        path = self._path(number)
        data = read_json(path)
        if data is None:
            known = self.numbers()
            span = (
                f"{known[0]} to {known[-1]}" if known[1:] else f"only {known[0]}" if known else ""
            )
            hint = f"there is {span or 'none'}"
            message = f"there is no generation {number}: `{path}` is missing"
            raise NoGeneration(message, hint=hint)
        try:
            found = Generation.from_json(data)
        except ValueError as error:
            raise damaged(path, error) from error
        if found.number != number:
            raise damaged(path, f"it is generation {found.number}")
        return found

    def _path(self, number: int) -> Path:
        return self.places.generations / f"{number}.json"

    def _staged(self, number: int) -> Path:
        """Return the path of a generation that was not reached yet, and is not valid."""
        return self.places.generations / f"{number}.json.staged"

    def next_number(self, managed: Managed) -> int:
        """Return the number of the next generation."""
        return max([*self.numbers(), managed.generation]) + 1

    def stage(self, generation: Generation) -> None:
        """Write a generation before its transaction; `finish` makes it valid."""
        write_json(self._staged(generation.number), generation.to_json())

    def unstage(self, number: int) -> None:
        """Remove a generation that was never reached."""
        files.forget(self._staged(number))

    def finish(self, managed: Managed) -> list[str]:
        """Do the steps after the commit point; returns failures, for the user.

        None of them is essential: the next change repeats them.
        """
        if not managed.generation:
            return []
        try:
            self._keep(managed)
            if managed.pending is None:
                self.confirm(managed.generation)
        except (DamonPolicyError, OSError) as error:
            log.warning("unfinished", generation=managed.generation, reason=str(error))
            again = "the next change, or `damonpolicy recover`, tries again"
            other = self._confirmed_or_none()
            what = f"generation {managed.generation} will not come back at boot"
            if other not in (0, managed.generation):
                what += f", but generation {other}"
            return [f"{what} ({error}): {again}"]
        return []

    def _keep(self, managed: Managed) -> None:
        """Make a committed generation valid; if its file is lost, write it from the state."""
        path, staged = self._path(managed.generation), self._staged(managed.generation)
        if self._is_of(staged, managed):
            try:
                staged.replace(path)
            except OSError as error:
                raise files.cannot("write", path, error) from error
            files.sync_directory(path.parent)
            self._forget_oldest(managed.generation)
        elif not path.exists():
            awaits, when = managed.pending is not None, time.time()
            kept = Generation(
                managed.generation, when, "written again", "", managed.policies, awaits
            )
            write_json(path, kept.to_json())

    def _is_of(self, staged: Path, managed: Managed) -> bool:
        """Return whether a staged generation is the one that was reached, not an older try."""
        data = read_json(staged)
        if data is None:
            return False
        if data.get("policies") == typed.plain(managed.policies):
            return True
        files.forget(staged)
        return False

    def _forget_oldest(self, number: int) -> None:
        protected = {self._confirmed_or_none(), number}
        for each in self.numbers()[:-_KEPT]:
            if each not in protected:
                files.forget(self._path(each))

    def confirmed(self) -> int:
        """Return the generation that is restored at boot, 0 for none.

        Raises DamonPolicyError if its file is damaged.
        """
        data = read_json(self.places.confirmed)
        number = data.get("generation", 0) if data else 0
        return number if isinstance(number, int) else 0

    def _confirmed_or_none(self) -> int:
        """Return the same, or 0 if it cannot be read."""
        try:
            return self.confirmed()
        except DamonPolicyError:
            return 0

    def confirm(self, number: int) -> None:
        """Mark a generation to be restored at boot."""
        generation = self.generation(number)
        if generation.awaits:
            write_json(self._path(number), replace(generation, awaits=False).to_json())
        if self._confirmed_or_none() != number:
            write_json(self.places.confirmed, {"generation": number})
