"""Files of other programs: JSON or YAML as plain data, without places."""

from __future__ import annotations

import json
from typing import Any

import yaml

from damonpolicy.diagnostics import Diagnostic, Span
from damonpolicy.source.files import SourceFile

__all__ = ("read_data",)


def read_data(file: SourceFile) -> tuple[Any, Diagnostic | None]:
    """Return what a file holds, or why it is neither JSON nor YAML."""
    try:
        return json.loads(file.text), None
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(file.text), None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        place = Span(file.name, line, column, line, column + 1)
        message = f"this is neither JSON nor YAML: {error.problem or 'unreadable'}"
        return None, Diagnostic.error("DP0004", place, message)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"`{file.name}` is neither JSON nor YAML: {str(error).splitlines()[0].lower()}"
        return None, Diagnostic.error("DP0004", None, message)
