"""Atomic files."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base.atomic import PUBLIC, Amount, Rotation, WholeFile, whole_file
from damonpolicy.base.errors import UsageError


@pytest.mark.parametrize("name", ["", ".", "..", "pipe", "directory", "directory/"])
def test_what_is_no_file_is_never_replaced(name, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()

    with pytest.raises(UsageError, match="is not a file that can be replaced"):
        Rotation(f"{tmp_path}/{name}").try_out()
    assert sorted(os.listdir(tmp_path)) == ["directory", "pipe"]


def test_what_need_not_last_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for durable in (False, True):
        with whole_file(str(tmp_path / "file"), durable=durable) as file:
            file.write(b"text")
        assert (tmp_path / "file").read_bytes() == b"text"
        assert len(synced) == durable


def test_a_standard_stream_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="`-` is not a file"):
        WholeFile("-")
    assert os.listdir(tmp_path) == []


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "other").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with whole_file(str(tmp_path / "link")) as file:
        file.write(b"new")

    assert (tmp_path / "other").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        WholeFile(f"{tmp_path}/nowhere/x.parquet")
    assert caught.value.filename == f"{tmp_path}/nowhere/x.parquet"


def test_trying_out_leaves_nothing(tmp_path):
    Rotation(f"{tmp_path}/x.parquet").try_out()
    assert os.listdir(tmp_path) == []


def test_what_is_shown_has_the_usual_mode(tmp_path):
    before = os.umask(0o022)
    try:
        with whole_file(str(tmp_path / "picture"), PUBLIC):
            pass
        with whole_file(str(tmp_path / "record")):
            pass
    finally:
        os.umask(before)
    assert oct((tmp_path / "picture").stat().st_mode & 0o777) == "0o644"
    assert oct((tmp_path / "record").stat().st_mode & 0o777) == "0o600"


def test_any_number_of_files_may_be_kept_at_once(tmp_path):
    rotation = Rotation(str(tmp_path / "x"), keep=10**12)
    for _ in range(3):
        rotation.finish(WholeFile(rotation.path), Amount())
    assert sorted(os.listdir(tmp_path)) == ["x", "x.1", "x.2"]


def test_directories_of_such_names_are_left_alone(tmp_path):
    (tmp_path / "x.1").mkdir()
    rotation = Rotation(str(tmp_path / "x"))
    rotation.refuse_to_overwrite()
    rotation.finish(WholeFile(rotation.path), Amount())
    assert (tmp_path / "x.1").is_dir()


def test_a_full_disk_keeps_nothing_of_it(tmp_path):
    """What is left to be written finds no room either, when the file is closed."""

    def full(*_):
        raise OSError(28, "No space left on device")

    def write():
        with whole_file(f"{tmp_path}/x.csv") as file:
            closes.append(file.close)
            file.close = full
            full()

    closes = []
    with pytest.raises(OSError, match="No space left") as caught:
        write()
    closes[0]()

    assert caught.value.filename == f"{tmp_path}/x.csv"
    assert os.listdir(tmp_path) == []
