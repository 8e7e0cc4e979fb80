"""Versions are known to the tables of features and of quirks, and to nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import damonpolicy

PACKAGE = Path(damonpolicy.__file__).parent
TABLES = ("kernel/damon/features.py", "kernel/damon/quirks.py", "emulated/profiles.py")
TYPED = ("cli/show/examples.py",)
"""Where commands stand that a reader may type: nothing is decided by them."""
VERSION = re.compile(r"(?<![\d.])[5-9]\.\d{1,2}(?![\d.]*\d)")


def documentation(tree):
    """Return the ids of strings that stand alone: docstrings, and texts below names."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_no_other_place_knows_a_version():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if str(path.relative_to(PACKAGE)) in (*TABLES, *TYPED):
            continue
        tree = ast.parse(path.read_text())
        silent = documentation(tree)
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in silent and VERSION.search(text):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {text}")

    assert found == []


def test_a_version_would_be_seen():
    assert VERSION.search("Linux 6.14 can")
    assert VERSION.search("emulated:7.3")
    assert not VERSION.search("3.11")
    assert not VERSION.search("10.25")
