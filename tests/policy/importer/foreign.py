"""damo's files, read as `import` reads them."""

from __future__ import annotations

from pathlib import Path

from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.policy.importer.damo import sources
from damonpolicy.policy.importer.policy import policy
from damonpolicy.policy.source.yaml import parse_foreign

FILES = Path(__file__).parent / "damo"
EVERYTHING = Capabilities({each.name: Answer("yes", "assumed") for each in FEATURES})


def read(text, name="f.yaml"):
    """Return what a file becomes, and everything that is wrong with it."""
    top, found = parse_foreign(name, text)
    if found:
        return [], found
    return sources(top, name)


def errors(found):
    return [each for each in found if each.severity == "error"]


def imported(text, name):
    made, found = read(text, f"{name}.yaml")
    assert not found
    return policy(made, name, EVERYTHING, None)


SCHEME = "kdamonds: [{contexts: [{schemes: [{action: pageout, %s}]}]}]"
