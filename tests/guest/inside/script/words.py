"""The vocabulary of scenes: paths of the first kdamond, texts, and short steps."""

from __future__ import annotations

from itertools import chain

from tests.guest.inside.answers import Scene, Step

__all__ = (
    "BOOLEANS", "CGROUP", "COMMANDS", "COUNTS", "INTEGERS", "LARGE", "MOST", "NUMBERS", "PAGE",
    "PATHS", "PLACE", "A", "C", "F", "G", "I", "Q", "S", "Steps", "T", "W", "ask", "configured", "exits",
    "listing", "read", "scene", "started", "write", "writes",
)  # fmt: skip

C = "0/contexts/0"
A = f"{C}/monitoring_attrs"
I = f"{A}/intervals"  # noqa: E741 -- beside A, C, S and T
T = f"{C}/targets"
S = f"{C}/schemes/0"
F = f"{S}/filters"
Q = f"{S}/quotas"
G = f"{Q}/goals"
W = f"{S}/watermarks"

PAGE = 4096
PLACE = 16 << 20
"""Where the kernel's own text lies: no page there is ever anyone's, or accessed."""
MOST = (1 << 32) - 1
LARGE = "18446744073709551615"
CGROUP = "/answers"
"""A cgroup that is there."""

NUMBERS = ("7", "0x10", "010", "-1", "x", LARGE, "18446744073709551616")
INTEGERS = ("1", "-1", "2147483647", "2147483648", "-2147483649", "0x7", "x")
COUNTS = ("2", "-1", "x", "1.5", "2147483648", "1")
BOOLEANS = ("Y", "n", "1", "off", "on", "0", "true", "F", "enable", "disable", "2", "x", "y\n")
PATHS = ("/", "/no/such", "no slash", "/ends\n", "/ü", "/nul\0here", "/" * 4095, "/" * 4096,
         "/" * 4100, "\n", "")  # fmt: skip
COMMANDS = (
    "commit", "commit_schemes_quota_goals", "update_schemes_stats", "update_schemes_tried_bytes",
    "update_schemes_tried_regions", "clear_schemes_tried_regions",
    "update_schemes_effective_quotas", "update_tuned_intervals",
)  # fmt: skip

Steps = tuple[Step, ...]
"""Steps that belong together."""


def scene(name: str, *steps: Step | Steps) -> Scene:
    """Make a scene of steps and groups of steps."""
    groups = ((each,) if isinstance(each, Step) else each for each in steps)
    return Scene(name, tuple(chain.from_iterable(groups)))


def write(path: str, *texts: object) -> Steps:
    """Write texts to a file, one after the other."""
    return tuple(Step("write", path, str(text)) for text in texts)


def writes(directory: str, **texts: object) -> Steps:
    """Write one text to each of some files of a directory."""
    return tuple(Step("write", f"{directory}/{name}", str(text)) for name, text in texts.items())


def read(*paths: str) -> Steps:
    """Read files, or what is none."""
    return tuple(Step("read", path) for path in paths)


def listing(*paths: str) -> Steps:
    """List directories, or what is none."""
    return tuple(Step("list", path) for path in paths)


def ask(command: str, path: str, wanted: object) -> Step:
    """Give a command until a file shows something."""
    return Step("ask", path, command, str(wanted))


def exits(process: str) -> Step:
    """End a process."""
    return Step("exit", process)


def configured(operations: str = "paddr", slot: int = 0) -> Steps:
    """Stage a kdamond with one scheme that tries everything it sees.

    Of physical memory it sees one page only, of processes all. Its aggregation is short:
    some kernels let commands wait for its end.
    """
    context = f"{slot}/contexts/0"
    target, scheme = f"{context}/targets/0", f"{context}/schemes/0"
    regions = (
        *writes(f"{target}/regions", nr_regions=1),
        *writes(f"{target}/regions/0", start=PLACE, end=PLACE + PAGE),
    )
    pattern = f"{scheme}/access_pattern"
    return (
        *writes(f"{slot}/contexts", nr_contexts=1),
        *writes(context, operations=operations),
        *writes(f"{context}/monitoring_attrs/intervals", aggr_us=20_000),
        *writes(f"{context}/targets", nr_targets=1),
        *(writes(target, pid_target="pid of one") if operations != "paddr" else ()),
        *(regions if operations != "vaddr" else ()),
        *writes(f"{context}/schemes", nr_schemes=1),
        *write(f"{pattern}/sz/max", LARGE),
        *write(f"{pattern}/nr_accesses/max", MOST),
        *write(f"{pattern}/age/max", MOST),
    )


def started(operations: str = "paddr") -> Steps:
    """Stage the only kdamond as above, and start it."""
    return (*write("nr_kdamonds", 1), *configured(operations), *write("0/state", "on"))
