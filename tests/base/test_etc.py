"""Root's lists: their entries, and their owners."""

from __future__ import annotations

import pytest

from damonpolicy.base import etc
from damonpolicy.base.trust import Untrusted


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "sources.allow"
    path.write_bytes(b"# ours\n/run/app/score  # one\n\nrelative\n /srv/scores/\n/odd\xff\n")
    path.chmod(0o644)
    return path


def test_a_list_names_absolute_paths(listed):
    assert etc.named(str(listed)) == ("/run/app/score", "/srv/scores/", "/odd\udcff")


def test_a_list_that_is_not_there_names_nothing(tmp_path):
    assert etc.named(str(tmp_path / "none")) == ()


def test_a_list_that_others_can_change_is_refused(listed):
    listed.chmod(0o664)
    with pytest.raises(Untrusted, match=r"group \d+ can change"):
        etc.named(str(listed))


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/run/app/score", True), ("/run/app/score2", False), ("/srv/scores/a/b", True),
     ("/srv/scores", False), ("/srv/scores2", False)],
)  # fmt: skip
def test_a_directory_stands_for_what_is_in_it(path, inside):
    assert etc.within(path, ("/run/app/score", "/srv/scores/")) is inside
