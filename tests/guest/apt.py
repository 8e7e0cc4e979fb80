"""Look up and fetch packages of Debian suites that the system itself does not use.

apt keeps its lists, its caches and its idea of what is installed (nothing) in a directory
of ours, so that the system's apt stays as it is and no root is needed. The mirror is the
one that the system uses, asked of apt at run time; proxies and the like hold for us too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import Unavailable, tail

__all__ = ("Apt", "Target", "mirror", "targets")

_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


@dataclass(frozen=True, slots=True)
class Target:
    """A list of packages that the system's apt is configured to use."""

    uri: str
    release: str
    codename: str
    component: str
    origin: str


def targets(text: str) -> list[Target]:
    """Read the answer of ``apt-get indextargets``, which knows both forms of sources."""
    found = []
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE))
        if "Repo-URI" in fields:
            found.append(
                Target(
                    uri=fields["Repo-URI"],
                    release=fields.get("Release", ""),
                    codename=fields.get("Codename", ""),
                    component=fields.get("Component", ""),
                    origin=fields.get("Origin", ""),
                )
            )
    return found


def mirror(configured: Iterable[Target], codename: str) -> str:
    """Return the URI of the Debian archive among what the system's apt uses.

    Others publish a suite of the same name too. The archive tells itself apart by its
    origin where apt has been updated, else by also holding the suite's updates, else by
    the usual end of its path.
    """
    known = list(configured)
    own = {codename, "stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"}
    candidates = [
        each
        for each in known
        if each.component == "main"
        and (each.codename == codename or each.release in own)
        and each.origin in {"", "Debian"}
    ]
    if not candidates:
        raise Unavailable(f"apt's sources name no Debian archive with {codename}/main")
    updated = {each.uri for each in known if each.release.endswith("-updates")}

    def rank(each: Target) -> tuple[bool, bool, bool]:
        path = each.uri.rstrip("/")
        return each.origin == "Debian", each.uri in updated, path.endswith("/debian")

    return max(candidates, key=rank).uri


class Apt:
    """An apt of our own in a directory, for some suites of the system's mirror."""

    def __init__(self, home: Path, suites: Sequence[str]) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise Unavailable("apt-get and dpkg-deb are needed, this is no Debian")
        self.home = home
        self.suites = tuple(suites)
        self.warnings = ""

    @property
    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::SourceList": self.home / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": self.home / "state",
            "Dir::State::lists": self.home / "lists",
            "Dir::State::status": self.home / "status",
            "Dir::Cache": self.home / "cache",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Default-Release": "",
            # Else the files would have to be readable for the user _apt.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _ask(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [tool, *self._options, *words],
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = tail(done.stderr.strip(), 8) or self.warnings
            raise Unavailable(f"{tool} {words[-1] if words else ''} failed: {said}")
        return done.stdout

    def update(self) -> None:
        """Fetch the lists of packages.

        A suite may have gone from the mirror: it is enough that the others answer, and
        what apt said is kept for the error of whoever then misses a package.
        """
        for folder in ("lists/partial", "cache/archives/partial", "state"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "status").write_text("", encoding="utf-8")
        (self.home / "sources.list").write_text(self._sources(), encoding="utf-8")
        done = subprocess.run(
            ["apt-get", *self._options, "-qq", "update"],
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        self.warnings = tail(done.stderr.strip(), 8) if done.returncode else ""
        if not any((self.home / "lists").glob("*_Packages*")):
            raise Unavailable(f"apt-get update failed: {self.warnings or 'no lists came'}")

    def _sources(self) -> str:
        uri = mirror(_configured(), _codename())
        keyring = next((path for path in _KEYRINGS if path.exists()), None)
        signed = f" signed-by={keyring}" if keyring else ""
        return "".join(f"deb [arch=amd64{signed}] {uri} {suite} main\n" for suite in self.suites)

    def names(self, prefix: str) -> list[str]:
        """Return the names of all packages that begin with ``prefix``, also virtual ones."""
        return self._ask("apt-cache", "pkgnames", prefix).split()

    def real(self, names: Sequence[str]) -> set[str]:
        """Return those names that have a version to download.

        A package that is only provided or depended on has none, although `apt-cache show`
        and `pkgnames` know its name.
        """
        table = self._ask("apt-cache", "madison", *names) if names else ""
        return {line.split("|")[0].strip() for line in table.splitlines() if "|" in line}

    def closure(self, suite: str, names: Sequence[str]) -> list[str]:
        """Return NAME=VERSION of ``names`` and of all that they need, the C library too."""
        answer = self._ask(
            "apt-get", "--simulate", "-qq", "--yes", "--no-install-recommends",
            f"--target-release={suite}", "install", *names,
        )  # fmt: skip
        found = re.findall(r"^Inst (\S+) \((\S+)", answer, re.MULTILINE)
        return [f"{name}={version}" for name, version in found]

    def download(self, packages: Sequence[str], into: Path) -> list[Path]:
        """Download packages, each NAME or NAME=VERSION, and return their files."""
        into.mkdir(parents=True)
        self._ask("apt-get", "-qq", "download", *packages, cwd=into)
        return sorted(into.glob("*.deb"))


def _configured() -> list[Target]:
    """Return what the system's apt is configured to use.

    Where it has never been updated, as in a new image, it lists nothing unless it is asked
    to leave out what only the lists could tell, such as the origin.
    """
    known: list[Target] = []
    for option in ("--release-info", "--no-release-info"):
        done = subprocess.run(
            ["apt-get", "indextargets", option, "Created-By: Packages"],
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        seen = {each.uri for each in known}
        known += [each for each in targets(done.stdout) if each.uri not in seen]
    return known


def _codename() -> str:
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    found = re.search(r'^VERSION_CODENAME="?([a-z]+)"?$', text, re.MULTILINE)
    return found[1] if found else "sid"
