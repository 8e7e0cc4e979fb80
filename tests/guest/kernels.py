"""The one list of supported kernel series, and how to find the Debian kernel of each.

The version is the one that `observed/` has answers of, as long as a mirror has it. Debian's mirrors
keep only the last versions of a series, and drop them without notice: then it is the newest of the
series, and every line about it says so (`remark`). To add a series, add a line here (README.md says
what else).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .apt import Apt
from .errors import Unavailable

__all__ = (
    "KNOWN",
    "REQUIRED",
    "SERIES",
    "SUITES",
    "Package",
    "Series",
    "candidates",
    "check_known",
    "observed",
    "preference",
    "release_key",
    "remark",
    "series_of",
)


@dataclass(frozen=True, slots=True)
class Series:
    """A kernel series that damonpolicy supports."""

    name: str
    required: bool
    """Tests run on it by default, and it has to pass before a release."""
    note: str


SERIES = (
    Series("6.12", required=True, note="Debian 13; the oldest one: no answer from commit"),
    Series("6.16", required=False, note="core_filters, ops_filters, node goals"),
    Series("6.17", required=False, note="DAMON_STAT runs at boot; commit when off is a BUG"),
    Series("6.18", required=True, note="long-term; the last one where a goal's node oopses"),
    Series("6.19", required=False, note="obsolete_target; Debian ships no modules any more"),
    Series("7.0", required=False, note="active_mem_bp; no modules"),
    Series("7.1", required=False, note="goal_tuner; no modules"),
    Series("7.2", required=False, note="probes, pause, collapse"),
    Series("7.3", required=True, note="the newest one: probe weights"),
)
KNOWN = tuple(each.name for each in SERIES)
REQUIRED = tuple(each.name for each in SERIES if each.required)

SUITES = ("bookworm-backports", "trixie", "trixie-backports", "sid", "experimental")

_OBSERVED = Path(__file__).with_name("observed")

_NAME = re.compile(r"linux-(?:image|binary)-(?P<release>\d+\.\d+[^-]*(?:-rc\d+)?-cloud-amd64)")
# An older kernel is one linux-image; a newer one is split, and its linux-image is empty.
_PARTS = ("image", "binary", "modules", "base")


@dataclass(frozen=True, slots=True)
class Package:
    """A kernel in the archive: its release (what uname -r will say) and its packages."""

    release: str
    packages: tuple[str, ...]


def series_of(release: str) -> str:
    """Return the series of a kernel release.

    >>> series_of("6.12.107+deb13-cloud-amd64")
    '6.12'
    """
    found = re.match(r"\d+\.\d+", release)
    return found[0] if found else release


def release_key(release: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """Sort key of releases: upstream version, a release candidate before it, then Debian's."""
    upstream = re.match(r"[\d.]+", release)
    version = tuple(int(word) for word in upstream[0].split(".") if word) if upstream else ()
    rest = release[upstream.end() :] if upstream else release
    return version, "-rc" not in rest, tuple(int(word) for word in re.findall(r"\d+", rest))


def version_of(release: str) -> str:
    """Return the upstream version of a kernel release.

    >>> version_of("6.12.107+deb13-cloud-amd64")
    '6.12.107'
    """
    found = re.match(r"\d+(\.\d+)*", release)
    return found[0] if found else ""


def observed(series: str) -> str:
    """Return the version whose files and answers are kept in `observed/`, empty for none."""
    names = (path.stem.removeprefix("tree-") for path in _OBSERVED.glob("tree-*.txt"))
    return next((name for name in names if series_of(name) == series), "")


def preference(release: str) -> tuple[bool, object]:
    """Sort key of releases of a series: the observed one is the best, else the newest."""
    return version_of(release) == observed(series_of(release)), release_key(release)


def remark(release: str) -> str:
    """Return the remark on a release that is not the observed one."""
    known = observed(series_of(release))
    if known in ("", version_of(release)):
        return ""
    return f" (what `observed/` holds is of {known})"


def releases(names: Iterable[str], series: str) -> list[str]:
    """Return the releases of a series that package names tell of, newest first."""
    found = {match["release"] for match in map(_NAME.fullmatch, names) if match}
    own = [release for release in found if series_of(release) == series]
    return sorted(own, key=release_key, reverse=True)


def check_known(series: str) -> None:
    """Raise Unavailable for a series that is not in the list."""
    if series not in KNOWN:
        raise Unavailable(f"kernel {series}: unknown series, known: {', '.join(KNOWN)}")


def candidates(apt: Apt, series: str, *, newest: bool = False) -> Iterator[Package]:
    """Return the kernels of a series that can be downloaded, the best first.

    That is the observed one, unless the ``newest`` is asked for; then the newest.
    """
    found = releases(apt.names("linux-"), series)
    if not newest:
        found.sort(key=preference, reverse=True)
    real = apt.real([f"linux-{part}-{release}" for release in found for part in _PARTS])
    none = True
    for release in found:
        packages = _packages(release, real)
        if packages:
            none = False
            yield Package(release, tuple(packages))
    if none:
        told = f"; {apt.warnings}" if apt.warnings else ""
        raise Unavailable(f"kernel {series}: not in {', '.join(apt.suites)}{told}")


def _packages(release: str, real: Sequence[str] | set[str]) -> list[str]:
    names = {part: f"linux-{part}-{release}" for part in _PARTS}
    have = [part for part in _PARTS if names[part] in real]
    if "binary" in have:
        have = [part for part in have if part != "image"]
    elif "image" not in have:
        have = []
    return [names[part] for part in have]
