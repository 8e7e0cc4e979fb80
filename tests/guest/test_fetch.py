"""Finding and fetching kernels, without a network: apt's answers are made up."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from . import apt, fetch, image, kernels, mounts, run, tools
from .apt import Target, mirror, targets
from .errors import Unavailable

ROOT = Path(__file__).parents[2]
NAMES = [
    "linux-image-6.12.9+deb13-cloud-amd64",
    "linux-image-6.12.107+deb13-cloud-amd64",
    "linux-image-6.12.107+deb13-cloud-amd64-unsigned",
    "linux-image-6.12.107+deb13-amd64",
    "linux-base-6.12.107+deb13-cloud-amd64",
    "linux-image-7.3-cloud-amd64",
    "linux-image-7.3-rc5-cloud-amd64",
    "linux-image-7.3.4+deb13-cloud-amd64",
    "linux-binary-7.3.4+deb13-cloud-amd64",
    "linux-binary-7.3.4+deb14.1-cloud-amd64",
    "linux-modules-7.3.4+deb13-cloud-amd64",
    "linux-base-7.3.4+deb13-cloud-amd64",
    "linux-image-6.19.14+deb13-cloud-amd64",
    "linux-binary-6.19.14+deb13-cloud-amd64",
]
VIRTUAL = {
    "linux-base-6.12.107+deb13-cloud-amd64",
    "linux-binary-7.3.4+deb14.1-cloud-amd64",
    "linux-image-6.19.14+deb13-cloud-amd64",
}


class FakeApt(apt.Apt):
    """Answers from a list, and packages whose kernel is a few bytes."""

    def __init__(self, home: Path, broken: Sequence[str] = ()) -> None:
        super().__init__(home, kernels.SUITES)
        self.broken = broken
        self.asked: list[str] = []

    def names(self, prefix: str) -> list[str]:
        return [name for name in NAMES if name.startswith(prefix)]

    def real(self, names: Sequence[str]) -> set[str]:
        return {name for name in names if name in NAMES and name not in VIRTUAL}

    def download(self, packages: Sequence[str], into: Path) -> list[Path]:
        into.mkdir(parents=True)
        self.asked += packages
        for name in packages:
            if name in self.broken:
                raise Unavailable(f"{name}: 404")
            tree = into / "tree"
            (tree / "DEBIAN").mkdir(parents=True)
            control = f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: n\n"
            (tree / "DEBIAN/control").write_text(f"{control}Description: d\n", "utf-8")
            (tree / "boot").mkdir()
            (tree / f"boot/vmlinuz-{name}").write_bytes(vmlinuz(b"\x7fELF kernel"))
            command: list[str | Path] = [
                "dpkg-deb",
                "--root-owner-group",
                "--build",
                tree,
                into / f"{name}_1.deb",
            ]
            subprocess.run(command, check=True, capture_output=True)
            shutil.rmtree(tree)
        return sorted(into.glob("*.deb"))


def vmlinuz(payload: bytes) -> bytes:
    """Return a bzImage of one setup sector with an uncompressed payload."""
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<II", head, 0x248, 0, len(payload) + 4)
    return bytes(head) + payload + struct.pack("<I", len(payload))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache that has tools, which are not run."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("not on Debian")
    monkeypatch.setenv("DAMONPOLICY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "get_tools", lambda: tools.own(tmp_path))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, fake: FakeApt) -> FakeApt:
    monkeypatch.setattr(fetch, "_apt", lambda home: fake)
    return fake


def test_the_mirror_is_the_one_of_the_system() -> None:
    """Other archives publish a suite of the same name and component."""
    text = """
Repo-URI: http://archive.example/security/
Release: bookworm-security
Codename: bookworm-security
Component: main
Origin: Debian

Repo-URI: https://vendor.example/apt/
Release: bookworm
Component: main

Repo-URI: http://archive.example/linux/
Release: bookworm
Component: main

Repo-URI: http://archive.example/linux/
Release: bookworm-updates
Component: main
"""
    assert mirror(targets(text), "bookworm") == "http://archive.example/linux/"


def test_sources_may_say_stable() -> None:
    """The suite's name is as good as the release's."""
    known = [Target("http://archive.example/debian", "stable", "", "main", "")]

    assert mirror(known, "trixie") == "http://archive.example/debian"


def test_without_an_archive_there_are_no_kernels() -> None:
    """The error says what was looked for."""
    with pytest.raises(Unavailable, match="no Debian archive with bookworm/main"):
        mirror([Target("http://a.example/", "jammy", "jammy", "main", "Ubuntu")], "bookworm")


@pytest.mark.parametrize(
    ("series", "packages"),
    [
        ("6.12", ["linux-image-6.12.107+deb13-cloud-amd64"]),
        ("6.19", ["linux-binary-6.19.14+deb13-cloud-amd64"]),
        (
            "7.3",
            [
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64",
                "linux-base-7.3.4+deb13-cloud-amd64",
            ],
        ),
    ],
)
def test_the_newest_kernel_that_can_be_had(
    series: str, packages: list[str], tmp_path: Path
) -> None:
    """Numbers count as numbers, names without a version do not count."""
    found = next(iter(kernels.candidates(FakeApt(tmp_path), series)))

    assert packages == list(found.packages)


NEWER = "6.12.117+deb13-cloud-amd64"
OBSERVED = "6.12.107+deb13-cloud-amd64"


def test_the_observed_kernel_is_taken_as_long_as_there_is_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests run with the kernels that they were written for, and not with those of the day."""
    monkeypatch.setattr(sys.modules[__name__], "NAMES", [*NAMES, f"linux-image-{NEWER}"])
    apt_ = FakeApt(cache)
    use(monkeypatch, apt_)
    found = [each.release for each in kernels.candidates(apt_, "6.12")]

    assert found == [OBSERVED, NEWER, "6.12.9+deb13-cloud-amd64"]
    assert next(kernels.candidates(apt_, "6.12", newest=True)).release == NEWER
    assert fetch.get_kernels(["6.12"], refresh=True)["6.12"].name == NEWER
    assert fetch.get_kernels(["6.12"])["6.12"].name == NEWER, "what is there needs no network"
    apt_.asked.clear()
    shutil.copytree(cache / "releases" / NEWER, cache / "releases" / OBSERVED)
    assert fetch.get_kernels(["6.12"])["6.12"].name == OBSERVED
    assert apt_.asked == []


def test_a_kernel_that_was_not_observed_is_said_to_be_another() -> None:
    assert run.Outcome("6.12", release=OBSERVED, passed=1).line.endswith("1 passed 0 skipped")
    assert run.Outcome("6.12", release=NEWER, passed=1).line.endswith(
        "1 passed 0 skipped (what `observed/` holds is of 6.12.107)"
    )


@pytest.mark.parametrize("series", kernels.KNOWN)
def test_every_series_was_observed(series: str) -> None:
    """A tree and answers, of one and the same version."""
    there = Path(__file__).with_name("observed")

    assert (there / f"behaviour-{kernels.observed(series)}.txt").exists()


def test_releases_are_in_order() -> None:
    """A candidate comes before its release, Debian's later build after the earlier one."""
    names = [
        "7.3-rc5-cloud-amd64",
        "7.3-cloud-amd64",
        "7.3.4+deb13-cloud-amd64",
        "7.3.4+deb14.1-cloud-amd64",
        "7.3.10+deb13-cloud-amd64",
    ]

    assert names == sorted([*names[2:], *names[:2]], key=kernels.release_key)


def test_a_series_that_is_not_there(tmp_path: Path) -> None:
    """The error names the series, and where it was looked for."""
    with pytest.raises(Unavailable, match=r"kernel 6\.16: not in bookworm-backports"):
        list(kernels.candidates(FakeApt(tmp_path), "6.16"))


def test_a_series_that_nobody_knows() -> None:
    """A typing error costs no network."""
    with pytest.raises(Unavailable, match=r"kernel 5\.10: unknown series"):
        fetch.get_kernels(["5.10"])


def test_a_kernel_is_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time apt is not even asked."""
    use(monkeypatch, FakeApt(cache))

    first = fetch.get_kernels(["6.12"])["6.12"]
    monkeypatch.setattr(fetch, "_apt", None)
    second = fetch.get_kernels(["6.12"])["6.12"]

    assert first == second == cache / "releases/6.12.107+deb13-cloud-amd64"
    assert (first / image.ELF).read_bytes() == b"\x7fELF kernel"
    assert not (cache / "unfinished").exists()


def test_an_older_kernel_when_the_newest_has_gone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists may name what the mirror has just dropped."""
    use(monkeypatch, FakeApt(cache, broken=["linux-image-6.12.107+deb13-cloud-amd64"]))

    assert fetch.get_kernels(["6.12"])["6.12"].name == "6.12.9+deb13-cloud-amd64"


def test_a_failure_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half directory is taken for a kernel later, nor what a killed run left."""
    use(monkeypatch, FakeApt(cache, broken=NAMES))
    (cache / "unfinished/killed").mkdir(parents=True)
    monkeypatch.setattr(image, "unpack", lambda kernel, tools: pytest.fail("not reached"))

    with pytest.raises(Unavailable, match="404"):
        fetch.get_kernels(["7.3"])

    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which directory, and why."""
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("DAMONPOLICY_CACHE", str(tmp_path / "file/cache"))
    monkeypatch.setattr(fetch, "get_tools", lambda: tools.own(tmp_path))

    with pytest.raises(Unavailable, match="file/cache cannot be written: Not a directory"):
        fetch.get_kernels(["6.12"])


def test_a_tree_with_a_mount_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest's root is this machine's: it must never be removed with a directory."""
    inside = tmp_path / "tree/mount"
    inside.mkdir(parents=True)
    monkeypatch.setattr(mounts, "mount_points", lambda: [PurePosixPath(inside)])

    with pytest.raises(OSError, match="is mounted in it"):
        mounts.remove_tree(tmp_path / "tree")

    assert inside.exists()


def test_what_a_tmpfs_hides_is_bound_again_once() -> None:
    """Only the outermost of what is needed, and never the hidden place itself."""
    needed = [Path(name) for name in ("/tmp/v/lib", "/tmp/v", "/usr", "/tmp", "/run/x")]

    assert [Path("/run/x"), Path("/tmp/v")] == mounts.outermost(
        mounts.below(needed, ("/tmp", "/run"))
    )


@pytest.mark.parametrize(
    ("required", "word", "status"), [("", "SKIPPED", 0), ("6.12,7.3", "FAILED", 1)]
)
def test_a_machine_without_qemu(required: str, word: str, status: int, tmp_path: Path) -> None:
    """One line says that nothing was tested, and why; a failure only where it was required."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.guest.run"],
        cwd=ROOT,
        env={
            "PATH": str(tmp_path),
            "DAMONPOLICY_CACHE": str(tmp_path),
            "HOME": "/",
            run.REQUIRE: required,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert status == done.returncode
    assert done.stdout.startswith(f"{word}: real kernels: ")
    assert done.stdout.count("\n") == 1


def test_without_root_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is missing, not what failed in the end."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Unavailable, match="root is needed"):
        tools.check_machine()
