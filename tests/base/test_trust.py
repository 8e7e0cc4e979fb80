"""Trusted files: owners, modes, links, and parent directories."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from damonpolicy.base import trust
from damonpolicy.base.trust import Keepers, Untrusted

ME = os.geteuid()
MINE = Keepers(frozenset({0, ME}))
STRANGER = 65533
"""Who owns nothing that is ours; files of our own are its in the eyes of `SOMEBODY_ELSE`."""
SOMEBODY_ELSE = Keepers(frozenset({STRANGER}))


@pytest.fixture
def place(tmp_path):
    """A directory whose path holds no links, with modes that no umask has changed."""
    place = tmp_path.resolve() / "etc"
    place.mkdir()
    place.chmod(0o755)
    return place


def make(path, text="x", mode=0o644):
    path.write_text(text)
    path.chmod(mode)
    return path


def content(path, keepers=MINE):
    descriptor = trust.open_trusted(path, keepers)
    with os.fdopen(descriptor) as stream:
        return stream.read()


def refusal(path, keepers=MINE):
    with pytest.raises(Untrusted) as caught:
        trust.open_trusted(path, keepers)
    return caught.value


def test_a_file_of_ours_is_read(place):
    assert content(make(place / "a.yaml", "one")) == "one"


def test_a_relative_name_is_read_from_where_we_are(place, monkeypatch):
    make(place / "a.yaml", "one")
    monkeypatch.chdir(place)

    assert content("a.yaml") == "one"
    assert content("./../etc/a.yaml") == "one"


def test_a_directory_is_opened(place):
    descriptor = trust.open_trusted(place, MINE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.path.samestat(os.fstat(descriptor), place.stat())
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("mode", "who"), [(0o666, "everyone"), (0o646, "everyone"), (0o664, f"group {os.getegid()}")]
)
def test_a_file_that_others_can_write_is_refused(place, mode, who):
    error = refusal(make(place / "a.yaml", mode=mode))

    assert error.message == f"{who} can change `{place}/a.yaml`"
    assert error.hint == f"look at it, then `chmod go-w {place}/a.yaml`"
    assert (error.exit_code, error.code) == (77, "DP0046")


def test_what_is_to_be_typed_holds_no_other_command(place):
    """Who made the file has chosen its name."""
    error = refusal(make(place / "a; reboot #.yaml", mode=0o666))

    assert error.hint == f"look at it, then `chmod go-w '{place}/a; reboot #.yaml'`"


def test_a_group_may_write_where_that_is_said(place):
    keepers = Keepers(MINE.owners, group=True)

    assert content(make(place / "a.yaml", mode=0o664), keepers) == "x"
    refusal(make(place / "b.yaml", mode=0o666), keepers)


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_above_that_others_can_write_is_refused(place, mode):
    (place / "policies.d").mkdir()
    make(place / "policies.d" / "a.yaml")
    place.chmod(mode)

    assert f"can change `{place}`" in refusal(place / "policies.d" / "a.yaml").message


def test_a_sticky_directory_guards_what_is_in_it(place):
    file = make(place / "a.yaml")
    place.chmod(0o1777)

    assert content(file) == "x"


def test_owners_are_looked_at_from_the_root_on():
    error = refusal("/etc", SOMEBODY_ELSE)

    assert error.message == "`/` belongs to user 0, who can change it"


def test_a_file_of_somebody_else_is_refused(place, give, monkeypatch):
    file = make(place / "a.yaml")
    give(file, STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    error = refusal(file)
    assert error.message == f"`{file}` belongs to user {STRANGER}, who can change it"
    assert error.hint == f"look at it, then `chown root {file}`"


def test_a_link_of_somebody_else_is_refused(place, give):
    make(place / "a.yaml")
    link = place / "b.yaml"
    link.symlink_to("a.yaml")
    assert content(link) == "x"
    give(link, STRANGER)

    assert str(link) in refusal(link).message


def test_links_are_followed_and_what_they_lead_to_is_looked_at(place):
    (place / "real").mkdir()
    make(place / "real" / "a.yaml", "one")
    make(place / "real" / "b.yaml", mode=0o666)
    (place / "by.name").symlink_to("real")
    (place / "from.root").symlink_to(place / "real" / "a.yaml")
    (place / "up").symlink_to("real/../real/a.yaml")

    assert content(place / "by.name" / "a.yaml") == "one"
    assert content(place / "from.root") == "one"
    assert content(place / "up") == "one"
    assert f"`{place}/real/b.yaml`" in refusal(place / "by.name" / "b.yaml").message


def test_links_in_a_circle_have_an_end(place):
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")

    with pytest.raises(OSError, match="Too many levels"):
        trust.open_trusted(place / "a", MINE)


def test_what_is_not_there_is_not_found(place):
    for path in (place / "no", place / "no" / "a.yaml", make(place / "file") / "below"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            trust.open_trusted(path, MINE)


def test_only_files_and_directories_are_opened(place):
    """A FIFO would wait for somebody who writes, and a device may do something."""
    os.mkfifo(place / "fifo", 0o600)

    with pytest.raises(OSError, match="not a regular file"):
        trust.open_trusted(place / "fifo", MINE)
    with pytest.raises(IsADirectoryError):
        trust.open_trusted(place, MINE)


def public(path):
    descriptor, real, open_to_all = trust.open_public(path)
    os.close(descriptor)
    return real, open_to_all


def test_what_everybody_can_read_is_public(public_place):
    place = public_place
    file = make(place / "score")
    (place / "link").symlink_to("score")

    assert public(file) == (str(file), True)
    assert public(place / "link") == (str(file), True)
    file.chmod(0o640)
    assert public(file) == (str(file), False)
    file.chmod(0o644)
    place.chmod(0o711)
    assert public(file) == (str(file), True)
    place.chmod(0o700)
    assert public(file) == (str(file), False)
    assert public(place / "link") == (str(file), False)


def test_the_file_that_is_looked_at_is_the_one_that_is_read(place, monkeypatch):
    """Between the look and the opening somebody puts another file there."""
    file = make(place / "a.yaml")
    real = os.open

    def exchanging(path, flags, *more, **others):
        if path == "a.yaml" and not flags & os.O_PATH:
            file.unlink()
            make(file, "other", 0o666)
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", exchanging)
    assert "everyone can change" in refusal(file).message


def test_no_descriptor_is_left_open(place):
    file, odd = make(place / "a.yaml"), make(place / "b.yaml", mode=0o666)
    before = os.listdir("/proc/self/fd")

    content(file)
    refusal(odd)
    assert trust.why_untrusted(odd, MINE) is not None
    with pytest.raises(Untrusted):
        trust.open_own(odd)
    trust.read_own(file)

    assert os.listdir("/proc/self/fd") == before


def test_why_untrusted_tells_what_opening_would(place):
    assert trust.why_untrusted(make(place / "a.yaml"), MINE) is None
    assert trust.why_untrusted(place / "not-there", MINE) is None
    error = trust.why_untrusted(make(place / "b.yaml", mode=0o666), MINE)
    assert error is not None
    assert error.message == f"everyone can change `{place}/b.yaml`"


def test_a_close_that_fails_hides_nothing(place, monkeypatch):
    """H6: neither what was read, nor that others can change it."""
    good, odd, real = make(place / "a.yaml"), make(place / "b.yaml", mode=0o666), os.close

    def close(descriptor):
        real(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "close", close)
    assert trust.read_own(good) == b"x"
    assert trust.why_untrusted(good, MINE) is None
    for looked in (lambda: trust.why_untrusted(odd, MINE), lambda: refusal(odd)):
        assert looked().message == f"everyone can change `{odd}`"
    with pytest.raises(Untrusted):
        trust.read_own(odd)
    place.chmod(0o777)
    with pytest.raises(Untrusted):
        trust.make_private_directory(place)
    monkeypatch.undo()

    assert os.listdir("/proc/self/fd") == before


def test_by_hand_the_user_of_sudo_counts_and_nobody_else(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "1000")
    assert trust.by_hand() == Keepers(frozenset({0, 1000}), group=True)
    monkeypatch.setenv("SUDO_UID", "-1")
    assert trust.by_hand().owners == {0}
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    monkeypatch.setenv("SUDO_UID", "1000")
    assert trust.by_hand().owners == {0, 1001}
    assert trust.root_and_we() == Keepers(frozenset({0, 1001}))


def test_only_root_on_its_own_machine_is_guarded(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert trust.guarded("live")
    assert not trust.guarded("emulated:7.3")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not trust.guarded("live")


def test_directories_are_private_whatever_the_umask(place, umask):
    trust.make_private_directory(place / "lib" / "damonpolicy" / "generations")

    for each in ("lib", "lib/damonpolicy", "lib/damonpolicy/generations"):
        assert stat.S_IMODE((place / each).stat().st_mode) == 0o700


def test_files_are_private_whatever_the_umask(place, umask):
    os.close(trust.open_own(place / "state.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    assert stat.S_IMODE((place / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_can_write_is_not_ours(place, mode):
    file = make(place / "state.json", mode=0o600)
    place.chmod(mode)

    for refused in (trust.make_private_directory, lambda path: trust.read_own(path / file.name)):
        with pytest.raises(Untrusted) as caught:
            refused(place)
        assert f"`{place}`" in caught.value.message
        assert "chmod go-w" in caught.value.hint


def test_state_of_somebody_else_is_not_ours(place, give):
    file = make(place / "state.json", mode=0o600)
    give(file, STRANGER)
    with pytest.raises(Untrusted):
        trust.read_own(file)

    give(file, ME)
    assert trust.read_own(file) == b"x"
    give(place, STRANGER)
    with pytest.raises(Untrusted):
        trust.read_own(file)
    with pytest.raises(Untrusted):
        trust.make_private_directory(place)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_state_is_a_regular_file(place, kind):
    make(place / "other")
    odd = place / "state.json"
    {
        "link": lambda: odd.symlink_to("other"),
        "directory": odd.mkdir,
        "fifo": lambda: os.mkfifo(odd),
    }[kind]()

    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        with pytest.raises((Untrusted, OSError)):
            os.close(trust.open_own(odd, flags))
    with pytest.raises(Untrusted) as caught:
        trust.read_own(odd)
    assert caught.value.message == f"`{odd}` is not a regular file"


def test_a_file_of_ours_that_is_missing_is_not_found(place):
    with pytest.raises(FileNotFoundError):
        trust.read_own(place / "state.json")
    with pytest.raises(FileNotFoundError):
        trust.read_own(place / "not-there" / "state.json")
