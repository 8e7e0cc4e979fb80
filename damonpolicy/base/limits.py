"""Limits on the size of input, each with a name and a number.

Input beyond a limit is refused at its place, before it costs time or memory. The page
docs/reference/limits.md is generated from this file.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("Limit", "shortened")


class Limit(NamedTuple):
    """The maximum of something; ``code`` is the diagnostic for anything beyond it."""

    what: str
    most: int
    unit: str
    code: str
    group: str = "A policy"


POLICY_FILE = Limit("Size of a policy, or of a file of variables", 1 << 20, "bytes", "DP0013")
DEPTH = Limit("Mappings and lists within each other", 40, "", "DP0013")
VALUES = Limit("Keys and values of a file", 20_000, "", "DP0013")
EXPANDED = Limit("Values once `for_each` has repeated them", 20_000, "", "DP0031")
COPIES = Limit("Values of one `for_each`", 256, "", "DP0030")
KDAMONDS = Limit("Kdamonds of a policy, repeated ones included", 128, "", "DP0032")
SCHEMES = Limit("Schemes of a policy, repeated ones included", 256, "", "DP0032")
ITEMS = Limit("Items of any other list", 512, "", "DP0033")
KEYS = Limit("Keys of a mapping", 512, "", "DP0033")
POLICIES = Limit("Policies read at once", 4_096, "", "DP0034")
ALL_POLICIES = Limit("Size of all policies read at once", 32 << 20, "bytes", "DP0034")
TEXT = Limit("Length of a text", 4_096, "characters", "DP0119")
CPUS = Limit("CPUs of a list; the kernel numbers them below this", 8_192, "", "DP0122")
FINDINGS = Limit("Findings that are shown; the rest are counted", 100, "", "DP0035")
MESSAGE = Limit("Length of a message, and of a hint", 600, "characters", "DP0035")

TEMPLATE = Limit("Length of a template", 1_000, "characters", "DP0024", "A template")
TEMPLATE_TEXT = Limit("Length of any text in it", 4_096, "characters", "DP0024", "A template")
TEMPLATE_BITS = Limit("Size of any whole number in it", 256, "bits", "DP0024", "A template")
TEMPLATE_DEPTH = Limit("Operations within each other", 50, "", "DP0022", "A template")
TEMPLATE_STEPS = Limit("Operations in it", 400, "", "DP0024", "A template")
TEMPLATE_DIGITS = Limit("Digits that `round` keeps", 15, "", "DP0023", "A template")
TEMPLATES = Limit(
    "Length of all different templates of a policy", 1 << 16, "characters", "DP0036", "A template"
)
TEMPLATES_STEPS = Limit(
    "Operations of all templates of a policy, repeated ones included",
    100_000, "", "DP0036", "A template",
)  # fmt: skip
TEMPLATES_TEXT = Limit(
    "Length of all that the templates of a policy give", 1 << 22, "characters", "DP0036",
    "A template",
)  # fmt: skip

EXPRESSION = Limit("Length of it", 200, "characters", "DP0119", "A regular expression")
EXPRESSION_STATES = Limit(
    "Size of it once `{m,n}` are written out", 1_000, "", "DP0037", "A regular expression"
)
EXPRESSION_LOOKS = Limit(
    "Command lines are searched up to here", 4_096, "characters", "", "A regular expression"
)

RECORD = Limit("Size of it, and of what it unpacks to", 4 << 30, "bytes", "DP0365", "A record")
RECORD_SMALL = Limit("Size that any record may unpack to", 32 << 20, "bytes", "DP0365", "A record")
RECORD_RATIO = Limit(
    "Times that a larger one may grow by being unpacked", 250, "", "DP0365", "A record"
)
RECORD_SERIES = Limit("Kdamonds, schemes and targets in it", 1_024, "", "DP0365", "A record")
RECORD_TOKEN = Limit(
    "Length of one value of JSON, or of one region", 1 << 20, "characters", "DP0365", "A record"
)
RECORD_ROWS = Limit("Regions in it", 1 << 30, "", "DP0365", "A record")
RECORD_ROWS_SMALL = Limit(
    "Regions that any Parquet file may have; a larger one has 256 a byte",
    1 << 24, "", "DP0365", "A record",
)  # fmt: skip
RECORD_FILTERS = Limit("Filters of a scheme in it", 512, "", "DP0365", "A record")
RECORD_MEMORY = Limit(
    "Memory for reading a Parquet file without a checksum of ours, beside 30 times its size",
    1 << 30, "bytes", "DP0367", "A record",
)  # fmt: skip
RECORD_SECONDS = Limit("Time for reading such a file", 60, "seconds", "DP0367", "A record")

OWN_FILE = Limit("Size of a plan or a machine file", 64 << 20, "bytes", "DP0501", "Other files")


def shortened(text: str, most: int = MESSAGE.most) -> str:
    """Return a text of at most ``most`` characters; the middle of a longer one is left out."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 3]} … {text[-tail:]}"
