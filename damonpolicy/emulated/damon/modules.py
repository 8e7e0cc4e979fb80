"""DAMON's own users in the kernel: DAMON_STAT, DAMON_RECLAIM and DAMON_LRU_SORT.

Each has a kdamond that runs exclusively (mm/damon/core.c: damon_start() with
``exclusive``), and parameters below /sys/module. Parameters are those of Debian's kernels.
"""

from __future__ import annotations

import errno
from functools import cache
from typing import Any

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated import values
from damonpolicy.emulated.damon.regions import PAGE
from damonpolicy.emulated.damon.table import CONTEXT, Files, entry
from damonpolicy.emulated.files import Content, Index
from damonpolicy.emulated.profiles import Profile
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.modules import ALL, MODULES, REGION, Parameter, parameter_path
from damonpolicy.kernel.damon.view import Kdamond

__all__ = ("Modules",)

_FILES = Kdamond()
_ATTRIBUTES = ("min_nr_regions", "max_nr_regions", "sample_interval", "aggr_interval")
_STAT_ATTRIBUTES = (10, 1000, 5_000, 100_000)
"""Fewest and most regions, sampling and aggregation in µs (mm/damon/stat.c)."""


@cache
def _of(profile: Profile) -> tuple[dict[str, Parameter], Index]:
    found = {each.path: each for each in ALL if profile.has(each.feature)}
    return found, Index(found)


class Modules:
    """The modules of one machine; only differences from the defaults are stored."""

    roots = tuple(f"/sys/module/{name}" for name in MODULES)

    def __init__(self, world: World) -> None:
        self.world = world
        self.known, self._index = _of(world.profile)

    def file(self, path: str) -> Content | None:
        parameter = self.known.get(path)
        if parameter is None:
            return None
        write = parameter.kind not in ("value", "pid")
        return Content(
            0o600 if write else 0o400,
            lambda: f"{self.show(parameter)}\n",
            (lambda text: self._write(parameter, text)) if write else None,
        )

    def names(self, path: str) -> dict[str, bool] | None:
        return self._index.directories.get(path)

    def boot(self) -> None:
        """Set parameters, and start the modules that run from boot on.

        That is DAMON_STAT if the kernel has it, unless the description differs (Debian's choice).
        Raises UsageError if the description names something that the kernel lacks or refuses.
        """
        for module, wanted in self.world.spec.modules.items():
            if not self._has(module):
                raise UsageError(f"the emulated kernel has no module `{module}`")
            # a module is started when all of its parameters are set (early_param, module_init)
            for name, text in sorted(wanted.items(), key=lambda each: each[0] == "enabled"):
                self._set(module, name, text)
        if "damon_stat" not in self.world.spec.modules and self._has("damon_stat"):
            self._start("damon_stat")

    def _has(self, module: str, name: str = "enabled") -> bool:
        return parameter_path(module, name) in self.known

    def _set(self, module: str, name: str, text: str) -> None:
        """Set a parameter as a kernel command line does."""
        parameter = self.known.get(parameter_path(module, name))
        if parameter is None or parameter.kind in ("value", "pid", "commit"):
            raise UsageError(f"the emulated kernel's `{module}` takes no `{name}`")
        try:
            self._write(parameter, text)
        except Refusal as refusal:
            raise UsageError(f"the emulated kernel refuses `{module}.{name}={text}`") from refusal

    def _of(self, module: str) -> dict[str, Any]:
        found: dict[str, Any] = self.world.state["modules"].setdefault(
            module, {"pid": 0, "ever": False, "values": {}, "asked": None, "stuck": 0}
        )
        return found

    def running(self) -> list[str]:
        """Return the modules whose kdamond runs."""
        modules: dict[str, Any] = self.world.state["modules"]
        for name in modules:
            self._look(name)
        return [name for name, each in modules.items() if each["pid"]]

    def monitored(self, module: str) -> dict[str, Any] | None:
        """Return a module's running context, in the form of a slot's; None if it sees nothing.

        DAMON_STAT tunes its intervals; here they keep their start values.
        """
        mine = self._of(module) if self._has(module) else {"pid": 0}
        self._look(module)
        if not mine["pid"] or self._asleep(module):
            return None
        low, high, sample, aggregation = _STAT_ATTRIBUTES
        start, end = self._default_region()
        if module != "damon_stat":
            low, high, sample, aggregation = self._numbers(module, *_ATTRIBUTES)
            start, end = self._numbers(module, *REGION)
        files = Files({})
        for file, text in (
            (_FILES.ops, "paddr"), (_FILES.region_count.min, low), (_FILES.region_count.max, high),
        ):  # fmt: skip
            files[file.path] = str(text)
        return {
            "pid": mine["pid"], "since": mine.get("since", 0.0), "ops": "paddr",
            "sample": sample, "aggr": aggregation, "targets": [{"regions": [[start, end]]}],
            "tree": entry(files.top, CONTEXT),
        }  # fmt: skip

    def _asleep(self, module: str) -> bool:
        """Return whether watermarks keep a module from monitoring (damos_wmark_wait_us())."""
        if module == "damon_stat":
            return False
        low, high = self._numbers(module, "wmarks_low", "wmarks_high")
        return not low <= self.world.free_permil() <= high

    def value(self, module: str, name: str) -> str:
        """Return the value of a parameter."""
        default = self.known[parameter_path(module, name)].default
        found: str = self._of(module)["values"].get(name, default)
        return found

    def _numbers(self, module: str, *names: str) -> list[int]:
        return [int(self.value(module, name)) for name in names]

    def show(self, parameter: Parameter) -> str:
        """Return the content of a parameter's file."""
        self._look(parameter.module)
        module = self._of(parameter.module)
        if parameter.kind == "enabled":
            return "Y" if module["pid"] or module.get("stuck", 0) else "N"
        if parameter.kind == "pid":
            return str(module["pid"] or module.get("stuck", 0) or -1)
        return self.value(parameter.module, parameter.name)

    def _write(self, parameter: Parameter, text: str) -> None:
        able = self.world.profile.quirk("bool.able")
        if parameter.kind == "ulong":
            value = str(values.unsigned(text))
            if parameter.name == "addr_unit" and value == "0":
                raise Refusal(errno.EINVAL)
        else:
            value = "Y" if values.boolean(text, able=able) else "N"
        if parameter.kind == "enabled":
            self._switch(parameter.module, on=value == "Y")
        elif parameter.kind == "commit":
            self._commit(parameter.module, value)
        else:
            self._of(parameter.module)["values"][parameter.name] = value

    def _switch(self, module: str, *, on: bool) -> None:
        """Start or stop a module's kdamond; EBUSY while any other runs."""
        mine = self._of(module)
        self._look(module)
        if on == bool(mine["pid"] or mine.get("stuck")):
            return
        if mine.get("stuck"):
            raise Refusal(errno.EPERM)
        if not on:
            self._end(module)
            return
        self._check(module)
        if self.running() or any(each["running"] for each in self.world.state["slots"].values()):
            raise Refusal(errno.EBUSY)
        self._start(module)

    def _start(self, module: str) -> None:
        self._find_region(module)
        pid, now = self.world.start_thread("kdamond.0"), self.world.now()
        self._of(module).update(pid=pid, ever=True, since=now)

    def _end(self, module: str) -> None:
        self.world.processes.pop(str(self._of(module)["pid"]))
        self._of(module)["pid"] = 0

    def _look(self, module: str) -> None:
        """Make a kdamond read its parameters on request, at its next look."""
        mine = self._of(module)
        if mine["asked"] is None or not mine["pid"]:
            return
        wait = int(self.value(module, "wmarks_interval")) / 1e6
        if self.world.now() < mine["asked"] + wait:
            return
        mine["asked"] = None
        mine["values"].pop("commit_inputs", None)
        try:
            self._check(module)
        except Refusal:
            if self.world.profile.quirk("module.ends"):
                mine["stuck"] = mine["pid"] if self.world.profile.quirk("module.stuck") else 0
                self._end(module)
        else:
            self._find_region(module)

    def _find_region(self, module: str) -> None:
        """Choose a region for a module without one, which its parameters show from then on."""
        if module == "damon_stat" or any(self.value(module, name) != "0" for name in REGION):
            return
        start, end = self._default_region()
        if self.world.profile.quirk("module.last"):
            end -= 1  # in the form of the kernel's resources
        self._of(module)["values"].update(zip(REGION, map(str, (start, end)), strict=True))

    def _default_region(self) -> tuple[int, int]:
        """Return the default region of a module."""
        if self.world.profile.quirk("module.largest"):
            start, end, _ = max(self.world.ram, key=lambda each: each[1] - each[0])
            return start, end
        return self.world.ram[0][0], self.world.ram[-1][1]

    def _check(self, module: str) -> None:
        """Refuse like damon_set_attrs() and damon_set_region_system_rams_default()."""
        if module == "damon_stat":
            return
        numbers = self._numbers(module, *_ATTRIBUTES, *REGION)
        low, high, sample, aggregation, start, end = numbers
        tuned = "autotune_monitoring_intervals"
        if self._has(module, tuned) and self.value(module, tuned) == "Y":
            sample, aggregation = 5_000, 100_000
        empty = start == end != 0 and not self.world.profile.quirk("module.empty")
        if low < 3 or low > high or sample > aggregation or start > end or empty:
            raise Refusal(errno.EINVAL)
        if self._has(module, "addr_unit"):
            least = max(PAGE // int(self.value(module, "addr_unit")), 1)
            if least & (least - 1) and not self.world.profile.quirk("units.commit"):
                raise Refusal(errno.EINVAL)

    def _commit(self, module: str, value: str) -> None:
        """Handle commit_inputs: pending until the kdamond sees it, or (7.3) done at once."""
        mine = self._of(module)
        if value == "N" or not self.world.profile.quirk("module.now"):
            mine["values"]["commit_inputs"] = value
            mine["asked"] = self.world.now() if value == "Y" else None
            return
        if not mine["pid"]:
            raise Refusal(errno.ECANCELED if mine["ever"] else errno.EINVAL)
        self._check(module)
        self._find_region(module)
