"""The files of each kernel, compared with listings of real ones."""

from pathlib import Path

import pytest

from damonpolicy.emulated.damon.table import Files, counted, inside, look, put
from damonpolicy.kernel.damon import features
from damonpolicy.kernel.damon.schema import COMMANDS, COUNTS, ROWS, default
from damonpolicy.kernel.system.machine import KDAMONDS

OBSERVED = Path(__file__).resolve().parents[2] / "guest" / "observed"
LISTINGS = {
    release if release.startswith("damon") else release.rpartition(".")[0]: path
    for path in OBSERVED.glob("tree-*.txt")
    for release in [path.stem.removeprefix("tree-")]
}
ADMIN = "admin/kdamonds/"


def listed(version):
    """Return path to (mode, content), of DAMON's own tree and of its modules' parameters.

    Left out: lines on tried regions, which are not there before a kdamond runs.
    """
    found = {}
    for listing in LISTINGS[version].read_text().splitlines():
        line = listing.removeprefix("/sys/kernel/mm/damon/")
        # its second sample filter aside, the development tree's listing has one of each too
        if not line.startswith("#") and " d755" not in line and "/sample/filters/1/" not in line:
            path, mode, content = [*line.split(" ", 2), ""][:3]
            found[path] = (int(mode, 8), content.replace("\\n", "\n"))
    return found


def walk(kernel, directory=""):
    for name, is_dir in kernel.machine.scan(f"{KDAMONDS}/{directory}".rstrip("/")):
        path = f"{directory}/{name}".lstrip("/")
        if is_dir:
            yield from walk(kernel, path)
        else:
            yield path


def one_of_each(kernel):
    """Make one of each numbered directory, from the top down."""
    done = set()
    while todo := [
        path
        for path in walk(kernel)
        if path.rpartition("/")[2] in COUNTS.values() and path not in done
    ]:
        for path in todo:
            done.add(path)
            assert path == "nr_kdamonds" or kernel.write(path, 1) == "ok"


@pytest.mark.parametrize("version", LISTINGS)
def test_tree(version, making):
    every = making(version)
    expected = {
        path.removeprefix(ADMIN): value
        for path, value in listed(version).items()
        if path.startswith(ADMIN)
    }
    # the listings were made with other counts, or after a run that had changed a file
    expected["0/contexts/0/schemes/0/quotas/weights/nr_accesses_permil"] = (0o600, "0")
    if version == "damon-next":
        expected["0/contexts/0/monitoring_attrs/sample/filters/nr_filters"] = (0o600, "1")
    one_of_each(every)

    assert expected == {
        path: (every.machine.mode(every.path(path)), every.read(path)) for path in walk(every)
    }


@pytest.mark.parametrize("version", [each for each in LISTINGS if each != "damon-next"])
def test_module_parameters(version, making):
    every = making(version)
    expected = {path: v for path, v in listed(version).items() if path.startswith("/sys/module/")}
    # what DAMON_STAT measures, and the pids of kdamonds, are another machine's
    measured = ("percentiles", "bandwidth", "aggr_interval_us", "kdamond_pid")

    for path, (mode, content) in expected.items():
        assert mode == every.machine.mode(path), path
        if not path.endswith(measured):
            assert content == every.read(path), path
    modules = {path.split("/")[3] for path in expected}
    assert sorted(expected) == sorted(
        f"/sys/module/{module}/parameters/{entry.name}"
        for module in modules
        for entry in every.machine.scan(f"/sys/module/{module}/parameters")
    )


def test_every_file_of_a_feature_is_in_the_table():
    known = {file.path for file in ROWS}

    for feature in features.FEATURES:
        if not feature.name.startswith("module."):
            assert {*feature.files, *feature.results} <= known
    words = {(file.path, word) for file in ROWS for word in file.words}
    words |= {("*/state", word) for word in COMMANDS}
    assert {pair for feature in features.FEATURES for pair in feature.words} <= words


def test_counts_are_those_of_the_tree():
    for file in ROWS:
        name = file.path.rpartition("/")[2]
        if name.startswith("nr_") and file.kind == "count" and "/" in file.path:
            assert COUNTS[file.path.split("/")[-2]] == name
    assert counted("nr_kdamonds") == "*"
    assert counted("*/contexts/nr_contexts") == "*/contexts/*"


@pytest.mark.parametrize("file", ROWS, ids=lambda file: file.path)
def test_defaults_are_what_the_file_could_show(file):
    value = default(file.path)
    if file.words:
        assert value in file.words or "core_filters" in file.path


def test_files_are_seen_and_changed_by_their_paths():
    context = {"operations": "paddr", "schemes": {"nr_schemes": "1", "0": {"stats": {}}}}
    files = look(context)

    assert (files.ops.text, len(files.schemes)) == ("paddr", 1)
    assert files.schemes[0].action.text == "stat", "a missing file has its default"
    assert inside(files.schemes[0].stats) is context["schemes"]["0"]["stats"]
    assert inside(files.targets) == {}
    assert dict(files.tree) == {
        "contexts/0/operations": "paddr",
        "contexts/0/schemes/nr_schemes": "1",
    }


def test_only_what_the_kernel_has_is_changed():
    context = {"operations": "paddr"}
    put(look(context).ops, "vaddr")
    put(look(context).paused, "Y")

    assert context == {"operations": "vaddr"}


def test_new_files_may_be_put_into_a_directory():
    files = Files({})
    files["a/b"] = "1"

    assert files.top == {"a": {"b": "1"}}
    assert (files["a/b"], files.get("a"), files.get("a/b/c")) == ("1", None, None)
    with pytest.raises(KeyError):
        files["a"]
