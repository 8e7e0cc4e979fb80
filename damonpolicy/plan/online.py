"""Online changes of a running kdamond: the commits that they need, and what they lose.

A commit hands the kernel the whole directory; targets and schemes are matched by index
(mm/damon/core.c: damon_commit_targets(), damon_commit_schemes()). So the order of steps
matters where a list shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.schema import row
from damonpolicy.kernel.damon.tree import Tree, differing, is_volatile
from damonpolicy.kernel.damon.view import Kdamond, Target
from damonpolicy.kernel.operation import Operation, Phase
from damonpolicy.plan.bind import Bound
from damonpolicy.plan.diff import changes, remade
from damonpolicy.plan.ir import CompiledKdamond
from damonpolicy.plan.positions import Schemes, without_schemes
from damonpolicy.plan.state import SlotRecord
from damonpolicy.plan.uncommitted import sooner, touched, unfed, unheard

__all__ = (
    "Change",
    "acts",
    "change",
    "commit_steps",
    "has_goals",
    "inherits",
    "may_sleep",
    "pids",
    "recommit",
    "retuned",
    "shifts",
    "started",
    "with_pids",
    "without_dead",
)

_OPS = Kdamond().ops.path
_TUNING = Kdamond().intervals.auto_tune.aggregations.path


@dataclass(slots=True)
class Change:
    """The operations, ordered within each phase; ``action`` is keep if none is needed."""

    action: Literal["keep", "change", "restart"]
    tree: Tree
    operations: list[Operation] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def change(slot: int, before: Tree, bound: Bound, record: SlotRecord) -> Change:
    """Plan the change of a running kdamond.

    ``before`` is its directory as it is, ``record`` what was last committed by us: files may have
    been staged by someone since, or by us and never committed; another process may have got the
    pid of one that ended, and another cgroup may have been made in the place of one.
    """
    desired, verified = bound.files, record.files
    staged = differing(before, desired)
    committed = differing(verified, desired)
    known = dict(record.members)
    reused = any(known.get(pid, start) != start for pid, start in bound.members)
    others = _others(verified, record.cgroups, bound)
    if not staged and not committed and not reused and not others:
        return Change("keep", before)
    result = Change("change", before)
    result.remarks += others
    if differing(before, verified):
        result.remarks.append("files were changed by someone since our last commit")
    why = _obstacle(before, bound, verified, result.remarks, reused=reused)
    if why:
        return _restart(slot, before, desired, result, why)
    result.remarks += unheard(bound.kdamond.uncommitted, desired, before, verified, late=True)
    return _commits(slot, before, bound, record, result)


def _obstacle(
    before: Tree, bound: Bound, verified: Tree, remarks: list[str], *, reused: bool
) -> str:
    """Say why a commit would not do, empty where it does; remarks are about what it costs."""
    desired = bound.files
    # The kernel runs what was committed, even if someone has staged over it since.
    ran = verified or before
    if {each.get(_OPS) for each in (before, ran)} != {desired[_OPS]}:
        return "other operations need other targets"
    if pids(before) != pids(ran):
        return "its targets were changed by someone since our last commit"
    if reused:
        return "a new process has the pid of one that ended"
    if inherits(ran, desired):
        if acts(desired):
            return "its schemes would act on where the process that goes has its memory"
        remarks.append(
            "until its layout is looked up (`intervals.update`), the next process is watched where"
            " the one that goes had its memory"
        )
    if bound.kdamond.commit == "none":
        return "this kernel cannot change it while it runs"
    if bound.kdamond.commit == "waits" and any(map(may_sleep, (before, verified, desired))):
        return "its watermarks could let a commit hang"
    return "; ".join(unheard(bound.kdamond.uncommitted, desired, before, verified))


def _commits(slot: int, before: Tree, bound: Bound, record: SlotRecord, result: Change) -> Change:
    """Add the commits that lead to what is wanted, one after the other."""
    desired, ran, kdamond = bound.files, record.files or before, bound.kdamond
    begins = retuned(before, desired) or retuned(ran, desired)
    if begins:
        result.remarks.append("the intervals are tuned again, starting from the policy's values")
    elif _tuned(before) and _tuned(desired):
        # a commit would set the intervals back to where tuning began
        result.operations.append(Operation.command(slot, "update_tuned_intervals", phase="stage"))
    schemes = Schemes(ran, desired, record.names, kdamond.names)
    known = (before, record.files) if kdamond.commit == "answered" else ()
    steps, shortened = _steps((before, ran), desired, schemes, known)
    again = unfed(kdamond.uncommitted, desired, schemes.staying(before))
    faked = {**before, _TUNING: "0"} if begins else before
    operations, tree = _one_by_one(slot, faked, steps, again=again, first="stage")
    result.operations += operations
    if shortened:
        # the kernel has dropped the obsolete targets by now: only the files still show them
        operations, tree = changes(slot, tree, desired, "commit")
        result.operations += operations
    result.tree = tree
    if schemes.remark:
        result.remarks.append(schemes.remark)
    return result


def recommit(
    slot: int,
    staged: Tree,
    committed: Tree,
    desired: Tree,
    kdamond: CompiledKdamond,
    names: Mapping[str, str],
) -> list[Operation]:
    """Return the operations from ``committed`` to ``desired`` for a running kdamond.

    ``staged`` may hold anything; files that it does not mention have their defaults. Targets that
    the kernel drops at the last commit stay in the files: `changes` takes them out. ``names`` are
    those of the schemes that were committed, by directory.
    """
    schemes = Schemes(committed, desired, names, kdamond.names)
    known = (committed,) if kdamond.commit == "answered" else ()
    steps, _ = _steps((staged, committed), desired, schemes, known)
    again = unfed(kdamond.uncommitted, desired, schemes.staying(committed))
    return _one_by_one(slot, staged, steps, again=again)[0]


def _one_by_one(
    slot: int, tree: Tree, steps: Iterable[Tree], *, again: bool, first: Phase = "commit"
) -> tuple[list[Operation], Tree]:
    """Return the operations that commit each step, the last of them ``again``, and the tree."""
    operations, phase, commit = [], first, Operation.command(slot, "commit")
    for step in steps:
        made, tree = changes(slot, tree, step, phase)
        operations += [*made, commit]
        phase = "commit"
    return [*operations, commit] if again else operations, tree


def _others(verified: Tree, were: Mapping[str, int], bound: Bound) -> list[str]:
    """List the cgroups that differ, or may differ, from those that the kernel was given."""
    return [
        f"the cgroup `{path}` was made again since it was committed"
        if path in were
        else f"it is not known which cgroup `{path}` was committed, so it is committed again"
        for path in remade(verified, were, bound.cgroups)
    ]


def _restart(slot: int, before: Tree, desired: Tree, result: Change, why: str) -> Change:
    """Stop and start instead of a commit."""
    operations, tree = changes(slot, before, desired, anew=True)
    result.action, result.tree = "restart", tree
    result.operations += [*operations, *started(slot, running=True)]
    tuned = " and tuned quotas" if has_goals(before) else ""
    result.remarks.append(f"it restarts and loses its monitoring results{tuned}: {why}")
    return result


def started(slot: int, *, running: bool) -> list[Operation]:
    """Return the commands that start a kdamond, after the end of one that is ``running``."""
    stop = [Operation.command(slot, "off", phase="start")] if running else []
    return [*stop, Operation.command(slot, "on", "off", "start")]


def may_sleep(tree: Tree) -> bool:
    """Return whether every scheme has watermarks, so that all could be inactive at once."""
    metrics = [scheme.watermarks.metric.text for scheme in Kdamond(tree).schemes]
    return bool(metrics) and "none" not in metrics


def _tuned(tree: Tree) -> bool:
    return is_volatile(Kdamond().intervals.sample.path, tree)


def has_goals(tree: Tree) -> bool:
    """Return whether any quota has a goal, so that the kernel tunes it."""
    rows = filter(None, map(row, tree))
    return any(each.ours.startswith("quota.goals.") for each in rows)


def retuned(tree: Tree, desired: Tree) -> bool:
    """Return whether tuning itself changes: tuned intervals may lie outside its new bounds.

    The kernel refuses such a commit (mm/damon/core.c: damon_valid_intervals_goal()).
    """
    files = filter(Kdamond().intervals.auto_tune.holds, {**tree, **desired})
    moved = any(tree.get(path) != desired.get(path) for path in files)
    return moved and _tuned(tree) and _tuned(desired)


def pids(tree: Tree) -> list[str]:
    """Return the processes of a tree's targets, in their order."""
    return [target.pid.text for target in Kdamond(tree).targets]


def inherits(before: Tree, desired: Tree) -> bool:
    """Return whether a commit would give a process the regions of one that ended.

    Regions are kept if the new list names none (mm/damon/core.c: damon_commit_target_regions()).
    """
    old, new = pids(before), pids(desired)
    gone = any(pid not in new for pid in old)
    return gone and old[0] != new[0] and not _keeps_gone(desired)


def _keeps_gone(tree: Tree) -> bool:
    """Return whether this kernel can drop a target from the middle, once it is marked obsolete."""
    return Kdamond(tree).targets[0].obsolete.present


def acts(tree: Tree) -> bool:
    """Return whether a scheme does more than count."""
    return any(scheme.action.text != "stat" for scheme in Kdamond(tree).schemes)


def shifts(running: Iterable[Tree], desired: Tree) -> bool:
    """Return whether a commit over one of these would give regions to another process."""
    new = pids(desired)
    return any(old[: len(new)] != new[: len(old)] for old in map(pids, running))


def commit_steps(running: Sequence[Tree], desired: Tree) -> list[Tree]:
    """Return the trees to commit in order, if one of ``running`` runs."""
    if not any(_types_change(each, desired) for each in running):
        return [desired]
    # A commit copies everything of a sample filter except its type: first none, then the new one.
    return [_listed(desired, Kdamond().sample.filters, ()), desired]


def _steps(
    running: Sequence[Tree], desired: Tree, schemes: Schemes, known: Sequence[Tree]
) -> tuple[list[Tree], bool]:
    """Return the trees to commit in order, and whether the last has dead targets.

    ``running`` are the files as they are, and what was committed last; ``known`` is what may
    be in effect, if the kernel answers a commit at once.
    """
    old, new = pids(running[-1]), pids(desired)
    gone = any(pid not in new for pid in old)
    last: list[Tree] = [desired]
    shortened = False
    if gone and _keeps_gone(desired):
        last, shortened = [_with_obsolete(desired, old, new)], True
    elif gone:
        # before 6.19 (commit "mm/damon: add obsolete flag to damon_target") nothing can be
        # taken out of the middle: commit what is common at the front, then append the rest
        front = 0
        while front < min(len(old), len(new)) and old[front] == new[front]:
            front += 1
        if 0 < front < len(new):
            last = [_with_targets(desired, new[:front], new), desired]
    if schemes.inherit:
        # the common front first, then all, so that no later scheme takes over another's state
        last, shortened = [without_schemes(last[0], schemes.front), desired], False
    steps = [*commit_steps(running, last[0]), *last[1:]]
    if sooner(schemes.front, desired, *known):
        steps, shortened = [touched(steps[0]), *(steps[1:] or [desired])], False
    return steps, shortened


def _types_change(before: Tree, desired: Tree) -> bool:
    old, new = (Kdamond(tree).sample.filters for tree in (before, desired))
    return any(each.type.text != other.type.text for each, other in zip(old, new, strict=False))


def _target_files(tree: Tree) -> dict[int, dict[str, str]]:
    """Return the files of all targets, by their number."""
    found: dict[int, dict[str, str]] = {}
    targets = Kdamond().targets
    for path in filter(targets.holds, tree):
        number, _, name = path.removeprefix(targets.below("")).partition("/")
        if name:
            found.setdefault(int(number), {})[name] = tree[path]
    return found


def _listed(
    tree: Tree, where: Numbered[Any], entries: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Return a tree in which a directory of numbered ones has other entries."""
    rest = {path: value for path, value in tree.items() if not where.holds(path)}
    return {**rest, **where.listing(entries)}


def without_dead(tree: Tree, lives: Callable[[int], bool]) -> dict[str, str]:
    """Return a tree without the targets whose process has ended; without targets, as it is."""
    known = pids(tree)
    if tree.get(_OPS) == "paddr":
        return dict(tree)
    living = [pid for pid in known if lives(int(pid))]
    return dict(tree) if living == known else _with_targets(tree, living, known)


def with_pids(tree: Tree, others: Mapping[str, str]) -> dict[str, str]:
    """Return a tree in which ``others`` replace processes."""
    files = (target.pid for target in Kdamond(tree).targets)
    return {**tree, **{each.path: others.get(each.text, each.text) for each in files}}


def _with_targets(desired: Tree, pids: list[str], all_pids: list[str]) -> dict[str, str]:
    """Return the desired tree with only some of its targets."""
    known = _target_files(desired)
    entries = [known.get(all_pids.index(pid), {}) for pid in pids]
    return _listed(desired, Kdamond().targets, entries)


def _with_obsolete(desired: Tree, old: list[str], new: list[str]) -> dict[str, str]:
    """Return the desired tree with vanished targets still in their places, marked obsolete.

    Their pids are replaced by a live one, since a commit looks up every pid.
    """
    order = [*dict.fromkeys([*old, *new])]
    places = {pid: index for index, pid in enumerate(new)}
    known, obsolete = _target_files(desired), Target().obsolete.path
    entries = [
        {**known[places.get(pid, 0)], obsolete: "N" if pid in places else "Y"} for pid in order
    ]
    return _listed(desired, Kdamond().targets, entries)
