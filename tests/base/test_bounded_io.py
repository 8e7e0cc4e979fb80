"""Files that users name, including devices and endless ones."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base import bounded_io
from tests.engine.site import Site, shipped


def test_a_file_is_read_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("ä" * 10)

    assert bounded_io.text(path, 20) == "ä" * 10
    with pytest.raises(OSError, match="it is larger than 0 MiB"):
        bounded_io.text(path, 19)


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def endless(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 5 << 30)
    return {"device": "/dev/zero", "pipe": str(tmp_path / "pipe"), "large": str(tmp_path / "large")}


@pytest.mark.parametrize("kind", ["device", "pipe", "large"])
@pytest.mark.parametrize(
    ("words", "after"), [(("apply", "--plan"), ()), (("--machine",), ("plan", shipped("ksm")))]
)
def test_what_has_no_end_is_refused(site, endless, kind, words, after):
    outcome = site.run(*words, endless[kind], *after)

    assert outcome.code == 64
    reason = "it is larger than 64 MiB" if kind == "large" else "it is not a regular file"
    assert reason in outcome.err
