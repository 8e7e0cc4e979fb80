"""Pages that are one table of the code each: exit codes, features, settings."""

from __future__ import annotations

import inspect
from pathlib import Path

from damonpolicy.base import errors
from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.emulated import spec
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.emulated.system import settings as emulated
from damonpolicy.kernel import settings as allowed
from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import DEVELOPMENT, FEATURES
from damonpolicy.kernel.damon.quirks import QUIRKS
from damonpolicy.kernel.forms import form_of
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from generator.diagnostics import link
from generator.markdown import MADE, code, table

__all__ = ("exit_codes", "features", "machine_file", "settings")


def exit_codes(docs: Path) -> str:
    """Return the page of exit codes."""
    kinds: dict[int, list[type[DamonPolicyError]]] = {}
    for each in (*DamonPolicyError.__subclasses__(), DamonPolicyError):
        if each.__module__ == errors.__name__:
            kinds.setdefault(int(each.exit_code), []).append(each)
    rows = []
    for exit_code in ExitCode:
        own = sorted({each.code for each in kinds.get(int(exit_code), [])})
        again = any(each.can_retry for each in kinds.get(int(exit_code), []))
        links = ", ".join(link(docs, each) for each in own)
        rows.append((str(int(exit_code)), exit_code.meaning, links, "yes" if again else ""))
    return "\n".join(
        (
            "# Exit codes\n",
            MADE,
            (
                "64 to 77 keep the meanings of sysexits.h. *Again* says that the same command may"
                " succeed later without anyone changing anything.\n"
            ),
            table(("code", "meaning", "diagnostic", "again"), rows),
            (
                "After 1, 64 to 77 and 130 the machine is as it was before the command. After 80 it is"
                " as it was, too: something was done and undone. Only after 81 it may be neither;"
                " the message names what differs, and the journal is kept for `damonpolicy recover`.\n"
            ),
            (
                "`doctor` ends with 1 where there is a problem. A process that does not exist (yet)"
                " is 1 as well: the policy is right, and another try may find it.\n"
            ),
        )
    )


def features(docs: Path) -> str:
    """Return the page of features and quirks, by the kernels that can be emulated."""
    kernels = list(PROFILES.values())
    versions = [each.version for each in kernels]
    rows = [
        (
            code(each.name),
            each.what,
            "—" if each.since == DEVELOPMENT else each.since,
            *("yes" if kernel.has(each.name) else "" for kernel in kernels),
            code(each.commit),
        )
        for each in FEATURES
    ]
    quirks = [
        (each.what, *("yes" if kernel.quirk(each.name) else "" for kernel in kernels))
        for each in QUIRKS
    ]
    observed = ", ".join(
        f"{each.version} ({each.release})" for each in kernels if each.known == "compared"
    )
    listed = ", ".join(each.version for each in kernels if each.known == "listed")
    derived = ", ".join(each.version for each in kernels if each.known == "derived")
    return "\n".join(
        (
            "# Features by kernel\n",
            MADE,
            (
                "Names are those of `when:`. What a kernel can do is found by looking for the thing"
                " itself, never by the version: see [presence](../explanation/presence.md). Versions"
                " are the first of torvalds/linux; `—` is in the development tree only."
                " `damonpolicy features` says what your kernel can do.\n"
            ),
            (
                "The columns are the kernels that can be emulated. Compared with real ones:"
                f" {observed}. Of {listed} only the files of a real one were listed; how it behaves"
                f" is derived. Derived from the tables alone: {derived}. What a derived one says of a"
                " kernel decides nothing on a real one.\n"
            ),
            table(("feature", "what", "since", *versions, "commit"), rows),
            "## Shipped policies\n",
            table(("policy", *versions), _shipped(docs.parent / "policies")),
            "*in part*: what is `optional` is left out, and the plan says so.\n",
            "## Where else they differ\n",
            (
                "Behaviours that the emulated kernels share with the real ones. What damonpolicy does"
                " about them: [kernel quirks](../kernel-quirks.md).\n"
            ),
            table(("behaviour", *versions), quirks),
        )
    )


def _shipped(directory: Path) -> list[tuple[str, ...]]:
    rows = []
    for path in sorted(directory.glob("*.yaml")):
        if path.name.endswith(".test.yaml"):
            continue
        cells = []
        for kernel in PROFILES.values():
            loaded = load([SourceFile(path.name, path.read_text())], Overrides(), machine=None)
            answers = {
                each.name: Answer("yes" if kernel.has(each.name) else "no", "profile")
                for each in FEATURES
            }
            found = compile_policies(loaded, Capabilities(answers), None)[1]
            severe = {each.severity for each in found if each.code != "DP0602"}
            cells.append("" if "error" in severe else "in part" if "note" in severe else "yes")
        rows.append((f"[{path.stem}](../../policies/{path.name})", *cells))
    return rows


def settings() -> str:
    """Return the page of settings."""
    places = [code(f"{place}…") for place in allowed.ALLOWED]
    places += [
        "`/sys/module/damon_*/parameters/…`",
        "`/sys/module/zswap/parameters/…`",
        "`/proc/sys/kernel/numa_balancing…`",
    ]
    rows = [
        (code(each.path), code(each.default), _takes(each), _since(each))
        for each in emulated.SETTINGS
        if not allowed.malformed(each.path)
    ]
    return "\n".join(
        (
            "# Settings\n",
            MADE,
            (
                "`settings:` of a policy sets companion knobs in the same transaction. The original is"
                " kept at first use, and put back when the last policy that uses the file leaves, unless"
                " someone has changed it since. Two policies may share a file only with equal values."
                " Values compare by meaning: `always [madvise] never` is `madvise`, `Y` is `1`.\n"
            ),
            (
                "What a known file takes is checked in the policy, at its line, and written in one form:"
                " numbers in decimal without leading zeros (`010` and `0x10` are errors, as kernels do"
                " not all read them alike), yes and no as the file shows them (`on` becomes `Y`, `1`"
                " or `true`). For other files the form is checked against what they hold.\n"
            ),
            "## What may be set\n",
            "\n".join(f"- {place}" for place in places) + "\n",
            (
                f"Root may extend the list in `{allowed.EXTENSION}`: see"
                " [allow further settings](../how-to/allow-settings.md). Paths are absolute, without"
                " `..`, and may not lead out of the list by a symbolic link. DAMON's own tree is never"
                " a setting.\n"
            ),
            (
                "Parameters of DAMON's modules are better written under [`modules:`](keys.md#modules),"
                " with units and checks. `enabled: N` of one is fine on a kernel without the module.\n"
            ),
            (
                "A kernel that lacks the file behaves as these values ask, and a note says so"
                f" (DP0645): {_as_good()}.\n"
            ),
            "## What the emulated machine knows\n",
            (
                "Defaults and limits as read from the real kernels; some files are coupled, see [kernel quirks](../kernel-quirks.md#settings). A real kernel may have"
                " more.\n"
            ),
            table(("file", "at boot", "takes", "since"), rows),
        )
    )


def _as_good() -> str:
    """Return the settings that may be missing where they would be switched off."""
    found = [
        code(f"{each.path}: {off}")
        for each in emulated.SETTINGS
        for off in ("0", "none", "never")
        if "hugepages-" not in each.path and allowed.missing(each.path, off)
    ]
    return ", ".join([*found, code("…/transparent_hugepage/hugepages-*kB/[shmem_]enabled: never")])


def _since(each: emulated.Setting) -> str:
    return next((quirk.since for quirk in QUIRKS if quirk.name == each.quirk), "")


def _takes(each: emulated.Setting) -> str:
    form = form_of(each.path)
    if each.words:
        return ", ".join(code(word) for word in each.words)
    return str(form).removeprefix("it takes ") if form is not None else "a name"


def machine_file() -> str:
    """Return the page of the emulated machine's description."""
    return "\n".join(
        (
            "# The machine file\n",
            MADE,
            (
                "`--machine FILE` gives an emulated machine other memory, processes and settings than"
                " the default one: two nodes of 1 GiB, four CPUs, two `qemu-system-x86_64` in"
                " `/machine.slice`, nginx, sshd. The file is TOML; everything in it may be left out.\n"
            ),
            f"```toml\n{_example(inspect.getdoc(spec) or '')}\n```\n",
            (
                "A machine is kept below `$XDG_STATE_HOME/damonpolicy/`, or in `--state-dir`, from one"
                " command to the next. Another description needs another `--state-dir`.\n"
            ),
        )
    )


def _example(text: str) -> str:
    return text.partition("\n\n")[2].strip()
