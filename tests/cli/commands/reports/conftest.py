"""Sites on which something runs that reports look at."""

from __future__ import annotations

import pytest

LOOK = """
version: 1
name: look
kdamonds:
  - name: vms
    ops: vaddr
    targets: [{process: {name: qemu-system-x86_64}}]
    schemes:
      - name: all
        action: stat
      - name: cold
        action: stat
        access_pattern: {access_rate: {max: 0%}}
        filters: [{allow: anon}]
modules: {damon_stat: {enabled: false}}
"""


@pytest.fixture
def looked(site):
    """A site on which something runs that can be looked at."""
    site.done("apply", site.policy("look", LOOK))
    return site


@pytest.fixture
def cold(site):
    """A site on which only cold memory is selected, as by policies that act on it."""
    text = LOOK.replace("      - name: all\n        action: stat\n", "")
    site.done("apply", site.policy("look", text))
    return site
