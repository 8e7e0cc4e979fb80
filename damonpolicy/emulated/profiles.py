"""Which kernels can be emulated: their features, and where else they differ.

Features come from the one table of `kernel.features`. All other differences are named
here, each with the versions that have it; a profile is one line below `PROFILES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from damonpolicy.errors import UsageError
from damonpolicy.kernel.features import DEVELOPMENT, FEATURES

__all__ = ("PROFILES", "QUIRKS", "Profile", "Quirk", "find", "profile", "versions")


@dataclass(frozen=True, slots=True)
class Quirk:
    """A behaviour of the kernels from ``since`` up to, but without, ``before``."""

    name: str
    since: str
    before: str
    what: str


QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "wmarks.hang", "", "6.16",
        "a commit while watermarks keep all schemes inactive waits with the lock held, for ever",
    ),
    Quirk("clear.running", "", "6.14", "clear_schemes_tried_regions needs a running kdamond"),
    Quirk(
        "walk.cancel", "6.14", "",
        "asking for tried regions ends with ECANCELED where no scheme will be applied",
    ),
    Quirk(
        "walk.hang", "6.14", "",
        "asking for tried regions while all schemes are inactive, and no interval of their"
        " watermarks lets the kdamond wait, never ends",
    ),
    Quirk("bool.able", "6.15", "", "booleans may be written as enable and disable"),
    Quirk("idle.busy", "6.16", "6.17", "the second command to a stopped kdamond is EBUSY"),
    Quirk("idle.bug", "6.17", "6.18", "the second command to a stopped kdamond is a BUG"),
    Quirk("idle.walk", "6.14", "7.0", "the second walk of a stopped kdamond's regions is EBUSY"),
    Quirk("idle.canceled", "7.0", "", "commands to a stopped kdamond are ECANCELED"),
    Quirk("off.again", "7.3", "", "stopping a kdamond that is stopped already is fine"),
    Quirk(
        "contexts.oops", "6.14", "7.0",
        "results of a kdamond without a context are a NULL dereference",
    ),
    Quirk(
        "quota.late", "", "6.18",
        "the first window of a quota has none: it lasts as long as any, and nothing is limited",
    ),
    Quirk(
        "quota.crumbs", "", "7.3",
        "regions for which a quota has less than a page left are counted as tried, and do not"
        " exceed it",
    ),
    Quirk("goal.oops", "6.16", "7.0", "a quota goal on a missing node is a NULL dereference"),
    Quirk("regions.raw", "", "7.0", "empty regions, and regions that share a page, are taken"),
    Quirk("regions.order", "", "7.0", "a region that ends before it starts is refused, to the byte"),
    Quirk("units.raw", "6.18", "7.0", "address units that are no powers of two are taken"),
    Quirk("tried.double", "6.16", "7.0", "the numbers of tried regions count twice"),
    Quirk(
        "module.largest", "", "7.3",
        "a module that is given no region monitors the largest piece of System RAM, not all",
    ),
    Quirk("module.now", "7.3", "", "commit_inputs of a module acts at once, or fails"),
    Quirk(
        "sample.type", DEVELOPMENT, "",
        "a commit that changes a sample filter's type leaves the kernel with half of it",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """One kernel; ``observed`` tells whether a real one was compared with it, or it is derived."""

    version: str
    release: str
    observed: bool
    features: frozenset[str]
    quirks: frozenset[str]

    def has(self, feature: str) -> bool:
        """Tell whether the kernel has a feature of `kernel.features`."""
        return feature in self.features

    def quirk(self, name: str) -> bool:
        """Tell whether the kernel has one of `QUIRKS`."""
        return name in self.quirks

    def reaches(self, since: str) -> bool:
        """Tell whether the kernel is of version ``since`` or later; "" is every kernel."""
        return _key(since) <= _key(self.version)


def _key(version: str) -> tuple[int, ...]:
    if version in (DEVELOPMENT, _DEVELOPMENT_PROFILE):
        return (1 << 16,)
    return tuple(int(part) for part in version.split(".")) if version else ()


_DEVELOPMENT_PROFILE = "damon-next"


def profile(version: str, release: str, *, observed: bool, fixed: tuple[str, ...] = ()) -> Profile:
    """Make the profile of a kernel.

    ``fixed`` names quirks that the release has no more, thanks to fixes of its stable series.
    """
    here = _key(version)
    return Profile(
        version,
        release,
        observed,
        frozenset(each.name for each in FEATURES if _key(each.since) <= here),
        frozenset(
            each.name
            for each in QUIRKS
            if _key(each.since) <= here
            and (not each.before or here < _key(each.before))
            and each.name not in fixed
        ),
    )


PROFILES = {
    each.version: each
    for each in (
        profile("6.12", "6.12.107+deb13-cloud-amd64", observed=True, fixed=("regions.raw",)),
        profile("6.18", "6.18.15+deb13-cloud-amd64", observed=True),
        profile("7.3", "7.3.4+deb13-cloud-amd64", observed=True),
    )
}


def versions() -> tuple[str, ...]:
    """Return the versions that can be emulated, the oldest first."""
    return tuple(PROFILES)


def find(version: str) -> Profile:
    """Return the profile of a version; raises UsageError for an unknown one."""
    found = PROFILES.get(version)
    if found is None:
        import difflib  # only for people who mistyped

        near = difflib.get_close_matches(version, PROFILES, 1, 0.5)
        known = "known are " + ", ".join(f"`{each}`" for each in PROFILES)
        raise UsageError(
            f"there is no emulated kernel `{version}`",
            hint=f"did you mean `emulated:{near[0]}`? {known}" if near else known,
        )
    return found
