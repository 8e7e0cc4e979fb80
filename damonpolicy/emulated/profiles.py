"""The kernels that can be emulated: a profile is one line below `PROFILES`.

A kernel's features come from `kernel.damon.features`, other differences from `kernel.damon.quirks`.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from damonpolicy.base.errors import UsageError
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.features import DEVELOPMENT, FEATURES
from damonpolicy.kernel.damon.quirks import QUIRKS

__all__ = ("PROFILES", "Known", "Profile", "find", "profile", "versions")

Known: TypeAlias = Literal["compared", "listed", "derived"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One kernel, and the source of its data.

    ``compared`` with a real one, operation by operation; only ``listed``: the files of a real one
    are known, and its behaviour is derived; or completely ``derived`` from the tables.
    """

    version: str
    release: str
    known: Known
    features: frozenset[str]
    quirks: frozenset[str]

    def has(self, feature: str) -> bool:
        """Return whether the kernel has a feature of `kernel.damon.features`."""
        return feature in self.features

    def quirk(self, name: str) -> bool:
        """Return whether the kernel has one of `kernel.damon.quirks`."""
        return name in self.quirks


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")) if version else ()


def profile(
    version: str,
    release: str,
    *,
    known: Known = "derived",
    fixed: tuple[str, ...] = (),
    base: str = "",
    more: tuple[str, ...] = (),
) -> Profile:
    """Make the profile of a kernel.

    ``fixed`` names quirks that fixes of the stable series have removed. A development tree is based
    on the version ``base``, and has ``more``: features, or families of them (`sample` includes
    `sample.write`), and quirks that no version has.
    """
    here = _key(base or version)

    def there(name: str, since: str, before: str = "") -> bool:
        if since == DEVELOPMENT:
            return any(name == each or name.startswith(f"{each}.") for each in more)
        return _key(since) <= here and (not before or here < _key(before))

    return Profile(
        version,
        release,
        known,
        frozenset(each.name for each in FEATURES if there(each.name, each.since)),
        frozenset(
            each.name
            for each in QUIRKS
            if there(each.name, each.since, each.before) and each.name not in fixed
        ),
    )


PROFILES = {
    each.version: each
    for each in (
        profile("5.18", "5.18.0-derived"),
        profile("6.1", "6.1.0-derived"),
        profile("6.6", "6.6.0-derived"),
        profile("6.8", "6.8.0-derived"),
        profile("6.12", "6.12.107+deb13-cloud-amd64", known="compared", fixed=("regions.raw",)),
        profile("6.14", "6.14.0-derived"),
        profile("6.15", "6.15.0-derived"),
        profile("6.16", "6.16.12+deb13-cloud-amd64", known="compared"),
        profile("6.17", "6.17.13+deb13-cloud-amd64", known="compared"),
        profile("6.18", "6.18.15+deb13-cloud-amd64", known="compared"),
        profile("6.19", "6.19.14+deb13-cloud-amd64", known="compared", fixed=("contexts.oops",)),
        profile("7.0", "7.0.13+deb13-cloud-amd64", known="compared"),
        profile("7.1", "7.1.13+deb13-cloud-amd64", known="compared"),
        profile("7.2", "7.2.13+deb13-cloud-amd64", known="compared"),
        profile("7.3", "7.3.4+deb13-cloud-amd64", known="compared"),
        profile(
            "damon-next", "7.3.4-damon-next", known="listed", base="7.3",
            more=(
                "probe.preps", "probe.pgidle_unset", "probe.pgidle_set",
                "quota.goal.hugepage_mem_bp", "sample", "sample.write", "sample.cpus",
                "sample.threads", "sample.type",
            ),
        ),
        profile(
            "damon-next-late", "7.3.4-damon-next-late-derived", base="7.3",
            more=(
                "probe", "filter.probe_hits_wsum", "quota.goal.complement",
                "quota.goal.hugepage_mem_bp", "sample", "sample.type",
            ),
        ),
        profile(
            "damon-next-2025", "6.17.0-damon-next-derived", base="6.17", more=("operations_attrs",),
        ),
    )
}  # fmt: skip
"""Profiles by version, oldest first. A derived one follows only the tables, and says so."""


def versions() -> tuple[str, ...]:
    """Return the versions that can be emulated, oldest first."""
    return tuple(PROFILES)


def find(version: str) -> Profile:
    """Return the profile of a version; raises UsageError for an unknown one."""
    found = PROFILES.get(version)
    if found is None:
        near = _near(version)
        known = "known are " + ", ".join(f"`{each}`" for each in PROFILES)
        raise UsageError(
            f"there is no emulated kernel `{version}`",
            hint=f"did you mean `emulated:{near}`? {known}" if near else known,
        )
    return found


def _near(version: str) -> str:
    """Return the profile that a version may mean: the last one before, or one spelt alike."""
    import difflib  # only for people who mistyped

    numbers = {name: _numbers(name) for name in PROFILES if _numbers(name)}
    before = [name for name, each in numbers.items() if each <= _numbers(version)]
    if before:
        return max(before, key=numbers.__getitem__)
    return next(iter(difflib.get_close_matches(version, PROFILES, 1, 0.5)), "")


def _numbers(version: str) -> tuple[int, ...]:
    """Return major and minor of a version, nothing of a name."""
    found = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", version)
    return (int(found[1]), int(found[2])) if found else ()
