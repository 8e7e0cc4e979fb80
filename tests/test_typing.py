"""What is public is typed: a user's file passes `mypy --strict` beside an installed damonpolicy.

`DAMONPOLICY_WHEEL` names a wheel to install; without it, what a wheel would hold is copied.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import damonpolicy
from damonpolicy import testing

USER = Path(__file__).with_name("typed_user.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment with damonpolicy installed, and libraries from this one."""
    place = tmp_path_factory.mktemp("user")
    venv.create(place / "venv")
    (packages,) = (place / "venv").glob("lib/python3*/site-packages")
    if wheel := os.environ.get("DAMONPOLICY_WHEEL"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    else:
        source = Path(damonpolicy.__file__).parent
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, packages / "damonpolicy", ignore=left_out)
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def mypy(place, text):
    """Check a file of a user; returns what mypy says."""
    (place / "user.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache",
         "--python-executable=venv/bin/python", "user.py"],
        cwd=place, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_public_names_have_the_types_that_their_page_promises(installed):
    assert list(installed.glob("venv/lib/python3*/site-packages/damonpolicy/py.typed"))
    assert mypy(installed, USER.read_text()) == "Success: no issues found in 1 source file\n"


def test_the_file_uses_every_public_name():
    text = USER.read_text()

    assert [name for name in testing.__all__ if text.count(name) < 2] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("checked.settings, Mapping[str, str]", "checked.settings, dict[str, str]"),
        ('kernel="6.12"', "kernel=6.12"),
        ("Host, check", "Host, Machine, check"),
    ],
)
def test_another_type_would_be_seen(installed, right, wrong):
    text = USER.read_text()
    assert right in text

    assert "error: " in mypy(installed, text.replace(right, wrong))
