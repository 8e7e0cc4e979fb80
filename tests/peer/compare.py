"""Compare `import` of damo's files with what damo would write: `python -m tests.peer.compare`.

    python -m tests.peer.compare --count 4000 [--first N]

For each file that both take, each value of damo's is what the printed policy compiles to, or a
warning at its place says why not. Every third file is what damo itself prints of the one before.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.damon.tree import is_volatile
from damonpolicy.plan.normal import in_effect
from damonpolicy.policy.importer import damo
from damonpolicy.policy.importer.policy import policy, written
from damonpolicy.policy.source.yaml import parse_foreign
from tests.peer.damo import Damo
from tests.peer.files import File

EVERYTHING = Capabilities({each.name: Answer("yes", "assumed") for each in FEATURES})
SKIPPED = ("nr_kdamonds", "filters/nr_filters")


def case(peer: Damo, text: str, form: str) -> tuple[str, list[str]]:
    """Compare one file, and return what came of it and what is wrong."""
    theirs = peer.ask(text, form)
    name = f"f.{form}"
    top, found = parse_foreign(name, text)
    made, more = ([], []) if found else damo.sources(top, name)
    found = [*found, *more]
    if not any(each.severity == "error" for each in found):
        became = policy(made, "p", EVERYTHING, None)
        found = [*found, *became.found]
    if any(each.severity == "error" for each in found):
        lost = [each.message for each in found if each.span is None or each.span.file != name]
        return "both refuse" if "refused" in theirs else "we refuse", lost
    if "refused" in theirs:
        return "damo refuses", []
    wrong = []
    for index, (source, ours) in enumerate(
        zip(made, written(became.text, EVERYTHING), strict=True)
    ):
        prefix = f"{index}/"
        files = {
            p.removeprefix(prefix): v for p, v in theirs["files"].items() if p.startswith(prefix)
        }
        for path, is_, becomes in different(files, ours):
            if source.system_ram and path.startswith("contexts/0/targets/"):
                continue  # all memory, wherever it is
            place = source.place(path)
            told = any(
                any(f"`{above}`" in each.message for above in around(path))
                or (place and each.span and each.span.line <= place.line <= each.span.end_line)
                or ("_unit`" in each.message and each.message.split("`")[1][:-5] in path)
                for each in found
            )
            if not told:
                wrong.append(f"{index}/{path}: damo writes `{is_}`, and we `{becomes}`")
    return ("warned" if found else "equal"), wrong


def around(path: str) -> Iterator[str]:
    """Yield a path and the directories above it, down to a target, a scheme or filters."""
    while path.count("/") > 2:
        yield path
        path = path.rpartition("/")[0]


def different(theirs: dict[str, str], ours: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the files in which two trees of a slot differ, targets' addresses apart."""
    theirs, ours = in_effect(theirs), in_effect(ours)
    for path in sorted({*theirs, *ours}):
        if path.endswith(SKIPPED) or path == "contexts/nr_contexts":
            continue
        if path.endswith("current_value") and is_volatile(path, theirs):
            continue  # what somebody fed last
        old, new = (tree.get(path, default(path)) for tree in (theirs, ours))
        if path.endswith("obsolete_target"):
            old = {"0": "N", "1": "Y"}.get(old, old)
        if old != new:
            yield path, old, new


def cases(peer: Damo, count: int, first: int = 0) -> Iterator[tuple[int, str, str]]:
    """Yield texts and their forms; what damo can print, it prints again."""
    number, seed = first, first
    while number < first + count:
        made = File(seed)
        seed += 1
        yield number, made.text, made.form
        number += 1
        if seed % 2 and not made.listed and number < first + count:
            again = peer.ask(made.text, made.form, made.pick("raw", "people")).get("dumped")
            if again:
                yield number, again, "json"
                number += 1


def main() -> int:
    """Compare many, and say what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.peer.compare", description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    outcomes: Counter[str] = Counter()
    failed = 0
    with Damo() as peer:
        for number, text, form in cases(peer, given.count, given.first):
            outcome, wrong = case(peer, text, form)
            outcomes[outcome] += 1
            if wrong:
                failed += 1
                print(f"case {number} ({form}):", *wrong[:5], text, sep="\n  ")
    print(
        f"{sum(outcomes.values()):,} files: " + ", ".join(f"{n:,} {w}" for w, n in outcomes.items())
    )
    print(f"{failed:,} are not what damo would write")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
