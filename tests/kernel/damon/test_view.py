"""The view of a tree has each file of the schema, and no other."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import Directory, Entries, File
from damonpolicy.kernel.damon.schema import ROWS, pattern


def _files(here: Directory) -> Iterator[File]:
    """Yield each file of a view, with one directory of each numbered kind."""
    names = {name for kind in type(here).__mro__ for name in vars(kind)}
    for name in sorted(names - {"path", "tree", "kind", "name"}):
        found = None if name.startswith("_") else getattr(here, name)
        if isinstance(found, File):
            yield found
        elif isinstance(found, Directory):
            yield from _files(found)
    if isinstance(here, Entries):
        yield from _files(here[0])


def test_view_and_schema_have_the_same_files() -> None:
    """A file that is new in one of them has to be in the other."""
    found = {pattern(each.path) for each in _files(view.Kdamonds())}
    assert found == {each.path for each in ROWS}
