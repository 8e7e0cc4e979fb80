"""The processor time of short commands, as a ratio to importing the libraries that they need.

    python -m bench.commands [RUNS]

runs each command and its yardstick in turn, compares the least of each, and fails where a ratio is
above its goal. `status` looks at a copy of a machine's files, the others at an emulated kernel.
`validate` and `plan` run with an empty cache of compiled policies first, which has no goal, and
then again.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 25
CLICK = "import click"
LIBRARIES = "import click, yaml, pydantic"
COMMAND = "import sys; from damonpolicy.cli.main import main; main(sys.argv[1:])"
POLICY = str(ROOT / "policies/proactive-reclaim.yaml")
EMULATED = ("--kernel", "emulated:7.3")


def cases(directory: str) -> tuple[tuple[str, tuple[str, ...], str, float | None], ...]:
    """Return each command: its name, its words, its yardstick, and the goal of the ratio, if any."""
    state = ("--state-dir", f"{directory}/state")
    return (
        ("--help", ("--help",), CLICK, 1.3),
        ("status", (*state, "--root", f"{directory}/copy", "status"), CLICK, 2.0),
        *(
            (name, (*state, *EMULATED, name, POLICY), LIBRARIES, goal)
            for name in ("validate", "plan")
            for goal in (None, 2.0)
        ),
    )


def copy(directory: str) -> None:
    """Make a machine's files to look at: DAMON's tree without a kdamond."""
    files = {
        "sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds": "0\n",
        "proc/sys/kernel/osrelease": "7.3.4\n",
        "proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000\n",
        "proc/meminfo": "MemTotal: 4194304 kB\nMemFree: 2097152 kB\n",
    }
    for name, text in files.items():
        path = Path(directory, "copy", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


def seconds(cache: str, code: str, words: tuple[str, ...] = ()) -> float:
    """Return the processor time of one process of Python, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, check=False, capture_output=True, text=True,
        env={**os.environ, "DAMONPOLICY_FORBID_LIVE": "1", "XDG_CACHE_HOME": cache},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2):  # 2: changes are pending
        sys.exit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Run the command line; see the module's text."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    failed = False
    with tempfile.TemporaryDirectory(prefix="damonpolicy-commands-") as directory:
        copy(directory)
        cache = f"{directory}/cache"
        for name, words, yardstick, goal in cases(directory):
            pairs = []
            for _ in range(runs + 1):
                if goal is None:
                    shutil.rmtree(cache, ignore_errors=True)
                pairs.append((seconds(cache, COMMAND, words), seconds(cache, yardstick)))
            ratio = min(ours for ours, _ in pairs[1:]) / min(theirs for _, theirs in pairs[1:])
            above = goal is not None and ratio > goal
            failed |= above
            said = "first" if goal is None else f"goal {goal}"
            note = "  above its goal" if above else ""
            print(f"{name:<9} {ratio:.2f} times `{yardstick}` ({said}){note}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
