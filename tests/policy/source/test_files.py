import os

from damonpolicy.policy.source.files import load


def names(files):
    return [os.path.basename(each.name) for each in files]


def test_directories_give_their_policies_in_order(tmp_path):
    for name in ("b.yaml", "a.yml", "c.test.yaml", ".d.yaml", "e.txt"):
        (tmp_path / name).write_text("version: 1\n")

    files, found = load([str(tmp_path)])

    assert names(files) == ["a.yml", "b.yaml"]
    assert not found


def test_later_directories_hide_files_of_the_same_name(tmp_path):
    for directory in ("lib", "etc"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "10-a.yaml").write_text(f"# {directory}\n")
    (tmp_path / "lib" / "20-b.yaml").write_text("# lib\n")

    files, _ = load([str(tmp_path / "lib"), str(tmp_path / "etc")])

    assert names(files) == ["10-a.yaml", "20-b.yaml"]
    assert [each.text for each in files] == ["# etc\n", "# lib\n"]


def test_a_link_to_nothing_switches_a_file_off(tmp_path):
    """As in sysctl.d(5)."""
    for directory in ("lib", "etc"):
        (tmp_path / directory).mkdir()
    for name in ("10-a.yaml", "20-b.yaml"):
        (tmp_path / "lib" / name).write_text("# lib\n")
    (tmp_path / "etc" / "10-a.yaml").symlink_to("/dev/null")

    files, found = load([str(tmp_path / "lib"), str(tmp_path / "etc")])

    assert names(files) == ["20-b.yaml"]
    assert not found


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\n")

    files, _ = load([str(tmp_path / "a.yaml")])

    assert files[0].text == "version: 1\n"


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe4\n")
    (tmp_path / "big.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    os.mkfifo(tmp_path / "fifo.yaml")
    paths = ["latin.yaml", "big.yaml", "fifo.yaml", "missing.yaml", "nul\0.yaml"]

    files, found = load([str(tmp_path / path) for path in paths])

    assert not files
    assert [each.code for each in found] == ["DP0002", "DP0013", "DP0001", "DP0001", "DP0001"]
    assert (found[0].span.line, found[0].span.column) == (2, 4)


def test_an_empty_directory_is_a_mistake(tmp_path):
    _, found = load([str(tmp_path)])

    assert [each.code for each in found] == ["DP0018"]
