"""The keys of the policy language, from the models, the words and the features."""

from __future__ import annotations

import functools
import inspect
import tomllib
import types
import typing
from fractions import Fraction
from pathlib import Path
from typing import Any

import pydantic

from damonpolicy.base.units import format_duration, format_percent
from damonpolicy.kernel.damon import actions
from damonpolicy.kernel.damon.features import DEVELOPMENT, FEATURES, by_file, by_word
from damonpolicy.kernel.damon.modules import PARAMETERS, parameter_path
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.damon.words import WORDS
from damonpolicy.policy.model import (
    filters,
    modules,
    quotas,
    sample,
    scalars,
    sources,
    targets,
    tuning,
)
from damonpolicy.policy.model.access_pattern import AccessPattern, Ages, Rates, Sizes
from damonpolicy.policy.model.intervals import AutoTune, Intervals, RegionCount
from damonpolicy.policy.model.kdamond import Kdamond, Temperature
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.probes import Probe
from damonpolicy.policy.model.schemes import Destination, Scheme, Watermarks, When
from generator.markdown import MADE, code, table
from generator.policy_schema import policy_schema

__all__ = ("page",)

_SECTIONS: tuple[tuple[str, type[pydantic.BaseModel]], ...] = (
    ("", Policy),
    ("kdamonds", Kdamond),
    ("when", When),
    ("targets", targets.Target),
    ("targets.regions", targets.AddressRange),
    ("process", targets.ProcessSelector),
    ("accesses", sample.Accesses),
    ("cpus", sample.NodeCpus),
    ("intervals", Intervals),
    ("auto_tune", AutoTune),
    ("region_count", RegionCount),
    ("probes", Probe),
    ("temperature", Temperature),
    ("schemes", Scheme),
    ("to", Destination),
    ("access_pattern", AccessPattern),
    ("size", Sizes),
    ("access_rate", Rates),
    ("age", Ages),
    ("quota", quotas.Quota),
    ("weights", quotas.Weights),
    ("tuner", quotas.Tuner),
    ("goals", quotas.Goal),
    ("from", quotas.Source),
    ("filters", filters.Filter),
    ("what", filters.Match),
    ("memcg", filters.Memcg),
    ("addr", targets.AddressRange),
    ("hugepage_size", filters.SizeRange),
    ("probe_hits_wsum", filters.HitsRange),
    ("watermarks", Watermarks),
    ("tuning", tuning.Tuning),
    ("bounds", tuning.Bounds),
    ("modules", modules.Modules),
    ("damon_stat", modules.DamonStat),
    ("damon_reclaim", modules.DamonReclaim),
    ("damon_lru_sort", modules.DamonLruSort),
)

_TYPES = (
    (scalars.Bytes, "size", "`200MiB`, `1.5 GiB`, `0`", "1024-based: B, KiB, MiB, GiB, TiB, PiB"),
    (scalars.Duration, "duration", "`100ms`, `1h30m`, `0`", "us, ms, s, m, h, d, large to small"),
    (modules.SizeLimit, "size limit", "`200MiB`, `unlimited`", ""),
    (modules.TimeLimit, "time limit", "`10ms`, `unlimited`", "whole milliseconds"),
    (scalars.Percent, "percentage", "`5%`, `0.5%`", "0 to 100"),
    (scalars.RateText, "rate", "`5%`, `5 samples`", "a percentage, or a count of samples"),
    (scalars.AgeText, "age", "`2m`, `20 aggregations`", "a duration, or a count of aggregations"),
    (scalars.Count, "count", "`10`", "0 to 4294967295"),
    (scalars.Weight, "weight", "`1`", "0 to 1000"),
    (scalars.Address, "address", "`0x100000000`, `4GiB`, `4096`", "bytes, 64 bits"),
    (scalars.Cpus, "CPU list", "`0-3,8`", 'in `{…}` with quotes: `"0,2"`'),
    (scalars.Node, "node", "`0`", "0 to 1023"),
    (scalars.Pid, "process id", "`811`", ""),
    (scalars.Flag, "flag", "`true`, `false`", "nothing else: not `on`, not `yes`"),
    (scalars.Name, "name", "`write-cold`", "63 letters, digits, `-`, `_`, `.` at the most"),
    (targets.Cgroup, "cgroup", "`/machine.slice`", "from the root of the cgroup tree"),
    (targets.Expression, "expression", "`guest=vm-[0-9]+`", "a regular expression of Python's"),
    (quotas.BytesOrAll, "size or all", "`200MiB`, `unlimited`", "a size, or no limit"),
    (quotas.RatioText, "ratio", "`1/10`", ""),
    (tuning.Amount, "amount", "`100`, `10MiB`", "a number, or a size"),
    (sources.Factor, "number", "`10000`, `0.5`", "0 or more"),
    (scalars.Text, "text", "`/run/app/score`", "4096 characters at the most"),
)
_WORDS = {word.ours: word for word in reversed(WORDS)}
_METRIC_UNITS = {"_us": "duration per `quota.every`", "_bp": "percentage"}


def page(docs: Path) -> str:
    """Return the page; raises SystemExit where words and models do not agree."""
    texts = tomllib.loads((docs / "texts/keys.toml").read_text(encoding="utf-8"))
    _complete(texts)
    parts = [
        "# Keys of the policy language\n",
        MADE,
        (
            "How a policy is written: [the policy language](policy.md). *Kernel file* is below the"
            " kdamond's directory (`…/damon/admin/kdamonds/N/`) unless it begins with `/`, with the unit that the kernel counts in;"
            " *since* is the first kernel that has the file; *damo* is the option of that tool."
            " A key in **bold** must be given.\n"
        ),
        "## Types\n",
        table(("type", "examples", ""), ((name, shown, more) for _, name, shown, more in _TYPES)),
        (
            "A template may stand in quotes wherever a value may. `for_each` may stand in an item of"
            " `kdamonds` and of `schemes`.\n"
        ),
    ]
    for prefix, model in _SECTIONS:
        parts += [
            f"## {prefix or 'The top'}\n",
            inspect.cleandoc(model.__doc__ or "").replace("``", "`") + "\n",
        ]
        parts.append(
            table(
                ("key", "what", "type", "default", "kernel file", "since", "damo"),
                _rows(prefix, model, texts),
            )
        )
    return "\n".join((*parts, _actions(), _metrics(), _filters()))


def _complete(texts: dict[str, Any]) -> None:
    known = {_path(prefix, name) for prefix, model in _SECTIONS for name in _names(model)}
    wrong = (set(texts["more"]) | set(texts["words"])) - known
    wrong |= {name for name in texts["words"].values() if name not in _WORDS}
    models = {model.__name__ for _, model in _SECTIONS} | {"Policy"}
    wrong |= set(_schema()["$defs"]) - models
    if wrong:
        raise SystemExit(f"docs/texts/keys.toml and the models do not agree on {sorted(wrong)}")


def _path(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _names(model: type[pydantic.BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _rows(prefix: str, model: type[pydantic.BaseModel], texts: dict[str, Any]) -> list[list[str]]:
    hints = typing.get_type_hints(model, include_extras=True)
    rows = []
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        path = _path(prefix, name)
        word = _WORDS.get(texts["words"].get(path, path))
        shown = f"**`{name}`**" if field.is_required() else code(name)
        file, since = "", ""
        if word is not None:
            file = code(word.kernel.removeprefix("contexts/*/").replace("*", "N"))
            file += f" ({word.unit})" if word.unit not in ("text", "bool") else ""
            feature = by_file(f"*/{word.kernel}")
            since = feature.since if feature else ""
        parameter = PARAMETERS.get(parameter_path(prefix, name))
        if parameter is not None:
            file = code(parameter.path)
            file += f" ({parameter.unit})" if parameter.unit != "bool" else ""
            feature = by_file(parameter.path)
            since = feature.since if feature else ""
        rows.append(
            [
                shown,
                _what(model, name, texts["more"].get(path, "")),
                _type(hints[attribute]),
                code(_default(field, hints[attribute])),
                file,
                "—" if since == DEVELOPMENT else since,
                code(word.damo if word else ""),
            ]
        )
    return rows


@functools.cache
def _schema() -> dict[str, Any]:
    return policy_schema()


def _what(model: type[pydantic.BaseModel], name: str, more: str) -> str:
    schema = _schema()
    part = schema if model is Policy else schema["$defs"][model.__name__]
    return f"{part['properties'][name]['description']} {more}".rstrip()


def _type(annotation: Any) -> str:
    annotation = _without_tag(annotation)
    for known, name, _, _ in _TYPES:
        if annotation == known:
            return f"[{name}](#types)"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(code(str(each)) for each in arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = (_type(each) for each in arguments if each is not types.NoneType)
        return " or ".join(dict.fromkeys(kinds))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    for prefix, model in _SECTIONS:
        if annotation is model:
            return f"[{prefix}](#{prefix.replace('.', '')})"
    return str(annotation)


def _without_tag(annotation: Any) -> Any:
    """Return a scalar of a union as it is elsewhere: unions tag their alternatives."""
    metadata = getattr(annotation, "__metadata__", ())
    if metadata and isinstance(metadata[-1], pydantic.Tag):
        rest = (annotation.__origin__, *metadata[:-1])
        return typing.Annotated[rest] if metadata[:-1] else annotation.__origin__
    return annotation


def _default(field: Any, annotation: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required() or value is None or isinstance(value, (tuple, dict, pydantic.BaseModel)):
        return ""
    if annotation == scalars.Duration:
        return format_duration(value)
    if annotation == scalars.Percent:
        return format_percent(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.limit_denominator() if isinstance(value, Fraction) else value)


def _actions() -> str:
    rows = []
    for action in actions.ACTIONS["paddr"]:
        cells = []
        for ops in ("vaddr", "paddr"):
            traits = actions.traits(ops, action)
            need = f" (needs `{traits.filters_need}`)" if traits.filters_need else ""
            honours = [
                what
                for what, holds in (
                    (f"page filters{need}", traits.filters),
                    ("weights", traits.priority),
                    ("weighted nodes", traits.destinations),
                )
                if holds
            ]
            needs = f"needs `{traits.needs}`" if traits.needs else ""
            said = ["works" if traits.works else "nothing happens: refused", *honours, needs]
            cells.append(", ".join(each for each in said if each))
        feature = next((each for each in FEATURES if each.name == f"action.{action}"), None)
        moves = "yes" if action in actions.MOVING else ""
        rows.append((code(action), *cells, moves, feature.since if feature else ""))
    return "\n".join(
        (
            "## Actions\n",
            (
                "What the kernel does for each, and what it honours there; `fvaddr` is like `vaddr`."
                " `addr` and `target` filters always work. An action that moves memory needs a quota.\n"
            ),
            table(("action", "vaddr", "paddr", "moves", "since"), rows),
        )
    )


def _metrics() -> str:
    rows = []
    for metric, needs in quotas.METRICS.items():
        unit = next((what for end, what in _METRIC_UNITS.items() if metric.endswith(end)), "number")
        feature = next(each for each in FEATURES if each.name == f"quota.goal.{metric}")
        keys = ", ".join(code(each) for each in sorted(needs))
        rows.append((code(metric), unit, keys, feature.since))
    head = ("metric", "target", "other keys", "since")
    return "\n".join(("## Metrics of goals\n", table(head, rows)))


def _filters() -> str:
    where = "*/contexts/*/schemes/*/filters/*/type"
    words = [*typing.get_args(filters.Page), *(name for name in _names(filters.Match)[1:])]
    rows = []
    for word in words:
        feature = by_word(where, word)
        layer = "core" if word in CORE else "page"
        since = feature.since if feature else "probes only"
        rows.append((code(word), layer, since))
    return "\n".join(
        (
            "## Words of filters\n",
            (
                "Core filters are decided before page-level ones, whatever the list says:"
                " see [filters and their verdict](../explanation/filters.md).\n"
            ),
            table(("word", "layer", "since"), rows),
        )
    )
