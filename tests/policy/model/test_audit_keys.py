"""No key is taken and then does nothing, and no key is left out of the three audits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from damonpolicy.cli.commands.explain import keys
from tests.policy.model import audit, audit_keys, audit_words
from tests.policy.model.audit import keys as kernel_keys

TABLE = Path(__file__).with_name("audit_keys.txt")
TEXTS = {"description", "for_each", "name", "vars", "version"}
"""Keys that name and describe, or are gone before anything is checked."""


@pytest.fixture(scope="module")
def lines():
    return list(audit_keys.table())


def used(made: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key that a policy has."""
    if isinstance(made, list | tuple):
        for each in made:
            yield from used(each, path)
    elif isinstance(made, dict):
        for key, value in made.items():
            yield (*path, key)
            yield from used(value, (*path, key))


def audited() -> Iterator[Any]:
    """Yield every policy that an audit looks at."""
    for word in kernel_keys():
        base = audit.usual(word.ours)
        yield audit_words.policy(audit.put(base, word.ours, "0"))
    for family in (*audit_words.families(), *audit_keys.families()):
        yield from family[2].values()


def test_every_value_is_effective_noted_warned_of_or_refused(lines):
    assert [line for line in lines if "NOTHING" in line] == []


def test_what_becomes_of_each_value_is_as_it_was(lines):
    text = "".join(f"{line}\n" for line in lines)
    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        TABLE.write_text(text)
    assert TABLE.read_text() == text


def test_every_key_of_the_language_is_audited():
    seen = {path for made in audited() for path in used(made)}
    known = {key.path for key in keys() if not TEXTS & set(key.path[-1:])}
    assert sorted(".".join(each) for each in known - seen) == []
