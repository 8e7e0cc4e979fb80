"""The table of kernel features: files or words, BTF name, version, commit.

Versions are for people and for emulated kernels; on a real kernel, presence alone decides
(`capabilities.py`). Paths are those of `tree.pattern`: below the kdamonds directory, with ``*`` for
numbers; parameters of DAMON's modules have absolute ones. Commits are those of torvalds/linux.
Differences in behaviour are in `quirks.py`; no other file has versions.
"""

from __future__ import annotations

from dataclasses import replace

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import ALL
from damonpolicy.kernel.damon.schema import LAYERS, ROWS, pattern
from damonpolicy.kernel.damon.view import Kdamond, Scheme

__all__ = (
    "DEVELOPMENT",
    "EMULATED",
    "FEATURES",
    "NEWEST",
    "WORDS",
    "Feature",
    "by_file",
    "by_word",
    "first_kernel",
    "needed",
    "siblings",
)

DEVELOPMENT = "damon/next"
"""The version of features that only the development tree has."""

NEWEST = "7.3"
"""The newest released kernel in the table: an example for hints."""

WORDS = {
    pattern(f"0/{file.path}"): name
    for file, name in (
        (Kdamond().schemes[0].action, "DAMOS_STAT"),
        (Kdamond().ops, "DAMON_OPS_VADDR"),
        (Kdamond().state, "DAMON_SYSFS_CMD_ON"),
    )
}
"""Names of words that all kernels accept, by file."""

EMULATED = "DAMONPOLICY_EMULATED"
"""The prefix of emulated kernels' own names, and of features without a name in real ones."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that some kernels have.

    ``files`` are complete patterns; ``results`` those of files that only report;
    ``words`` are pairs of a pattern and a word that its file accepts; ``btf`` is a name as
    `btf.damon_names` gives it, seen in a real kernel's (tests/guest/observed/btf-*.txt), or
    empty; ``since`` a version or `DEVELOPMENT`.
    """

    name: str
    what: str
    since: str
    commit: str = ""
    files: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    btf: str = ""
    results: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """The BTF name that shows it: the kernel's, or one that only emulated kernels have."""
        return self.btf or f"{EMULATED}.{self.name}"


def _feature(name: str, what: str, since: str, btf: str = "", commit: str = "") -> Feature:
    """Return a feature; ``btf`` may lack the beginning of the structs for DAMON's directories."""
    known = not btf or btf.lower().startswith("damo")
    return Feature(name, what, since, commit, btf=btf if known else f"damon_sysfs_{btf}")


_FAMILIES = {
    "action": ("the action ", "DAMOS_"),
    "filter": ("DAMOS filters on ", "DAMOS_FILTER_TYPE_"),
    "quota.goal": ("quota goals on ", "DAMOS_QUOTA_"),
}
"""Features that are a word of one file each: what they are, and how the kernel names them."""


def _words(family: str, since: str, commit: str, *words: str) -> tuple[Feature, ...]:
    what, btf = _FAMILIES[family]
    return tuple(
        Feature(f"{family}.{word}", what + word, since, commit, btf=btf + word.upper())
        for word in words
    )


def _module(module: str, what: str, since: str) -> Feature:
    name = f"module.{module}"
    return Feature(name, what, since, files=tuple(e.path for e in ALL if e.feature == name))


_FEATURES: tuple[Feature, ...] = (
    _feature("sysfs", "DAMON's sysfs interface", "5.18", "kdamonds.nr", "c951cd3b8901"),
    _feature("ops.fvaddr", "fixed virtual address ranges", "5.19", "DAMON_OPS_FVADDR",
        "b82434471cd2"),
    _feature("commit", "changing a running kdamond", "5.19", "DAMON_SYSFS_CMD_COMMIT",
        "adc286e6bdd3"),
    *_words("action", "6.0", "", "lru_prio", "lru_deprio"),
    _feature("scheme.tried_regions", "the regions that a scheme tried", "6.2",
        "scheme.tried_regions"),
    _feature("filters", "DAMOS filters", "6.3", "scheme.filters"),
    *_words("filter", "6.3", "", "anon", "memcg"),
    _feature("scheme.tried_bytes", "the size of the regions that a scheme tried", "6.6",
        "scheme_regions.total_bytes"),
    *_words("filter", "6.6", "", "addr", "target"),
    _feature("filter.ranges", "files for address ranges and targets of filters", "6.6",
        "scheme_filter.addr_range"),
    _feature("scheme.apply_every", "an interval of its own for each scheme", "6.7",
        "scheme.apply_interval_us"),
    _feature("quota.goals", "quotas that tune themselves toward goals", "6.8", "quotas.goals"),
    _feature("quota.effective_bytes", "the quota in effect", "6.9", "quotas.effective_sz"),
    _feature("quota.goal.metric", "a choice of metrics for goals", "6.9",
        "damos_sysfs_quota_goal.metric"),
    *_words("quota.goal", "6.8", "", "user_input"),
    *_words("quota.goal", "6.9", "", "some_mem_psi_us"),
    *_words("filter", "6.10", "", "young"),
    *_words("action", "6.11", "", "migrate_hot", "migrate_cold"),
    _feature("scheme.target_nid", "the node that pages migrate to", "6.11", "scheme.target_nid"),
    _feature("scheme.filter_passed", "bytes that passed the page-level filters", "6.14",
        "stats.sz_ops_filter_passed", "626ffabe67c2"),
    _feature("filter.allow", "filters that allow", "6.14", "scheme_filter.allow"),
    *_words("filter", "6.15", "0431c4262261", "hugepage_size"),
    *_words("filter", "6.15", "", "unmapped"),
    *_words("filter", "6.15", "3b23a44f1f19", "active"),
    _feature("filter.sizes", "files for the size range of filters", "6.15",
        "scheme_filter.sz_range", "0431c4262261"),
    _feature("filters.layers", "core and page-level filters in directories of their own", "6.15",
        "scheme.core_filters"),
    _feature("intervals.auto_tune", "intervals that tune themselves", "6.15",
        "intervals.intervals_goal", "1eb3471bf574"),
    _feature("commit.checked", "commits that refuse what is invalid and leave the kdamond running",
        "6.16", "schemes_walk_data.sysfs_kdamond"),
    _feature("commit.tuned_intervals", "reading tuned intervals back", "6.15",
        "DAMON_SYSFS_CMD_UPDATE_TUNED_INTERVALS"),
    *_words("quota.goal", "6.16", "0e1c773b501f", "node_mem_used_bp", "node_mem_free_bp"),
    _feature("quota.goal.node", "goals on one node", "6.16", "damos_sysfs_quota_goal.nid",
        "0e1c773b501f"),
    _feature("migrate.destinations", "several weighted nodes to migrate to", "6.17", "scheme.dests",
        "a2c24eae5a15"),
    _feature("migrate.vaddr", "migration of virtual address ranges", "6.17",
        "damos_va_migrate_private.scheme"),
    _feature("refresh", "statistics that refresh themselves", "6.17", "kdamond.refresh_ms"),
    _feature("filters.vaddr_stat", "page-level filters for stat on virtual addresses", "6.18",
        "damos_va_stat_private.scheme"),
    _feature("addr_unit", "address units", "6.18", "context.addr_unit", "09a616cbb371"),
    *_words("quota.goal", "6.19", "6a18bbe48361", "node_memcg_used_bp", "node_memcg_free_bp"),
    _feature("quota.goal.path", "goals on one cgroup", "6.19", "damos_sysfs_quota_goal.path",
        "6a18bbe48361"),
    _feature("target.obsolete", "removing one target of a running kdamond", "6.19",
        "target.obsolete"),
    _feature("scheme.max_snapshots", "schemes that stop after a number of snapshots", "7.0",
        "stats.max_nr_snapshots", "4a6ceb7c9744"),
    *_words("quota.goal", "7.0", "4a6ceb7c9744", "active_mem_bp", "inactive_mem_bp"),
    _feature("quota.tuner", "a choice of tuners for goals", "7.1", "quotas.goal_tuner",
        "8719c59c4b928"),
    *_words("action", "7.2", "58996503b631", "collapse"),
    *_words("quota.goal", "7.2", "9138e27a3bc3", "node_eligible_mem_bp"),
    _feature("pause", "pausing a kdamond", "7.2", "context.pause", "3b9e3cc0405b4"),
    _feature("quota.fail_charge", "charging failed attempts less", "7.2", "quotas.fail_charge_num",
        "c7ec7d5f6b3d1"),
    _feature("probes", "probes of data attributes", "7.2", "attrs.probes", "45c49d9fd6089"),
    _feature("probe.anon", "probes on anonymous memory", "7.2", "DAMON_FILTER_TYPE_ANON",
        "8caba1448278"),
    _feature("probe.memcg", "probes on a cgroup's memory", "7.2", "DAMON_FILTER_TYPE_MEMCG",
        "c71f8e13462d"),
    _feature("probe.weight", "probes that take the place of access checks", "7.3", "probe.weight",
        "37aae41c1056"),
    _feature("probe.preps", "preparations of probes", DEVELOPMENT, "probe.preps"),
    _feature("probe.pgidle_unset", "probes on touched pages", DEVELOPMENT,
        "DAMON_FILTER_TYPE_PGIDLE_UNSET"),
    _feature("probe.pgidle_set", "probes on untouched pages", DEVELOPMENT,
        "DAMON_FILTER_TYPE_PGIDLE_SET"),
    _feature("probe.hugepage_size", "probes on the size of pages", DEVELOPMENT),
    _feature("probe.sizes", "files for the size range of probes", DEVELOPMENT),
    _feature("filter.probe_hits_wsum", "DAMOS filters on probe_hits_wsum", DEVELOPMENT),
    _feature("quota.goal.complement", "goals on the complement of a metric", DEVELOPMENT),
    *_words("quota.goal", DEVELOPMENT, "", "hugepage_mem_bp"),
    _feature("sample", "choosing which accesses count", DEVELOPMENT, "attrs.sample"),
    _feature("sample.write", "counting writes or reads only", DEVELOPMENT,
        "DAMON_FILTER_TYPE_WRITE"),
    _feature("sample.cpus", "counting accesses of some CPUs only", DEVELOPMENT,
        "DAMON_FILTER_TYPE_CPUMASK"),
    _feature("sample.threads", "counting accesses of some threads only", DEVELOPMENT,
        "DAMON_FILTER_TYPE_THREADS"),
    _feature("operations_attrs", "choosing which accesses count, in an early form", DEVELOPMENT),
    _module("reclaim", "proactive reclaim by a module", "5.16"),
    _module("reclaim.online", "changing the reclaiming module while it runs", "5.19"),
    _module("lru_sort", "sorting of the LRU lists by a module", "6.0"),
    _module("reclaim.skip_anon", "a reclaiming module that leaves anonymous pages alone", "6.3"),
    _module("reclaim.goals", "goals of the reclaiming module", "6.9"),
    _module("stat", "statistics by a module", "6.17"),
    _module("reclaim.addr_unit", "address units of the reclaiming module", "6.18"),
    _module("lru_sort.addr_unit", "address units of the sorting module", "6.18"),
    _module("stat.interval", "the tuned interval of the counting module", "6.18"),
    _module("lru_sort.goals", "goals of the sorting module", "7.0"),
    _module("reclaim.auto_tune", "intervals of the reclaiming module that tune themselves", "7.2"),
    _module("stat.pid", "the counting module's thread", "7.2"),
)  # fmt: skip

_SHARED = f"/{Scheme().filters.path}/"
_PLACES: dict[str, dict[str, list[str]]] = {"files": {}, "results": {}}
_WORDS: dict[str, list[tuple[str, str]]] = {}
for _row in ROWS:
    _PLACES["results" if _row.result else "files"].setdefault(_row.feature, []).append(_row.path)
    if not set(LAYERS) & set(_row.path.split("/")):
        for _word, _brought in _row.since.items():
            _WORDS.setdefault(_brought, []).append((_row.path, _word))

FEATURES: tuple[Feature, ...] = tuple(
    replace(
        each,
        files=(*each.files, *_PLACES["files"].get(each.name, ())),
        results=tuple(_PLACES["results"].get(each.name, ())),
        words=tuple(_WORDS.get(each.name, ())),
    )
    for each in _FEATURES
)
_BY_NAME = {feature.name: feature for feature in FEATURES}
_BY_FILE = {path: each for each in FEATURES for path in (*each.files, *each.results)}
_BY_WORD = {pair: each for each in FEATURES for pair in each.words}


def by_file(path: str) -> Feature | None:
    """Return the feature that introduced a file; None for the first kernels' files."""
    return _BY_FILE.get(path)


def by_word(path: str, word: str) -> Feature | None:
    """Return the feature that brought a word of a file, or None; layers take those of filters."""
    for layer in LAYERS:
        path = path.replace(f"/{layer}/", _SHARED)
    return _BY_WORD.get((path, word))


def needed(path: str, word: str) -> list[Feature]:
    """Return the features that a file, and a word in it, need."""
    found = (by_file(path), by_word(path, word))
    return [feature for feature in dict.fromkeys(found) if feature is not None]


def siblings(feature: Feature) -> frozenset[str]:
    """Return the names of all words that the same files accept.

    A kernel with none of them uses other names, so that a missing one proves nothing.
    """
    patterns = {where for where, _ in feature.words}
    others = (each for each in FEATURES if any(where in patterns for where, _ in each.words))
    names = {each.btf for each in others} | {WORDS.get(where, "") for where in patterns}
    return frozenset(name for name in names if name and "." not in name)


def first_kernel(name: str) -> str:
    """Name the first kernel with a feature, for messages."""
    since = _BY_NAME[name].since
    return "only the development tree has it" if since == DEVELOPMENT else f"Linux {since} has it"
