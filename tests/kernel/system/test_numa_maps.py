"""The nodes of a process's memory, from a file such as the kernel writes."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.numa_maps import process_nodes

TEXT = """\
55d0c0a00000 default file=/usr/bin/N7=8 mapped=3 N0=2 N1=1 kernelpagesize_kB=4
7f0000000000 prefer:1 anon=4 dirty=4 active=1 N1=4 kernelpagesize_kB=2048
7ffd00000000 default stack anon=1 dirty=1 N0=1
7ffd10000000 default
"""


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "proc" / "42"
    folder.mkdir(parents=True)
    (folder / "numa_maps").write_text(TEXT)
    return LiveMachine(str(tmp_path))


def test_pages_count_by_the_size_of_their_mapping(machine):
    assert process_nodes(machine, 42) == {0: 3 * 4096, 1: 4096 + 4 * 2_097_152}


def test_a_process_that_is_gone_has_none(machine):
    assert process_nodes(machine, 43) == {}
