"""Files shipped with damonpolicy: beside the package in a wheel, at the top in a checkout."""

from __future__ import annotations

from pathlib import Path

__all__ = ("output_schemas", "policies", "schema_file", "texts_file")

_SCHEMA = ".schema.json"
_PACKAGE = Path(__file__).resolve().parents[1]


def _directory(name: str, above: str = "") -> Path:
    inside = _PACKAGE / "shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / above / name


def policies() -> dict[str, Path]:
    """Return the shipped policies by name."""
    found = _directory("policies").glob("*.yaml")
    named = {path.stem: path for path in found if not path.name.endswith(".test.yaml")}
    return dict(sorted(named.items()))


def schema_file() -> Path:
    """Return the JSON Schema of the policy language."""
    return _directory("schemas") / "policy.v1.schema.json"


def output_schemas() -> dict[str, Path]:
    """Return the JSON Schemas of what commands print, by the command: `report wss`."""
    found = sorted((_directory("schemas") / "output").glob(f"*{_SCHEMA}"))
    return {path.name.removesuffix(_SCHEMA).replace("-", " "): path for path in found}


def texts_file() -> Path:
    """Return the file with the text about each finding."""
    return _directory("texts", above="docs") / "diagnostics.toml"
