"""Policy texts that several tests use; a text that only one test uses is in its file."""

from __future__ import annotations

NO_STAT = "settings: {/sys/module/damon_stat/parameters/enabled: N}\n"
"""DAMON_STAT lets no other kdamond start."""

LOOK = f"""\
version: 1
name: look
kdamonds:
  - name: ram
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes: [{{name: all, action: stat}}]
{NO_STAT}"""
"""A kdamond that only counts."""

WATCH = """\
version: 1
name: watch
kdamonds:
  - name: workers
    ops: vaddr
    targets: [{process: {name: worker}}]
    schemes: [{name: seen, action: stat}]
"""
"""Processes that come and go."""

SWAPPY = """\
version: 1
name: a
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    schemes: [{name: s, action: stat}]
settings: {/proc/sys/vm/swappiness: 70}
"""
"""A kdamond and a setting, which change in one transaction."""

ACCESSES = """\
version: 1
name: a
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    accesses: {accesses}
    schemes: [{{name: s, action: stat}}]
"""
"""Only some accesses count: to be formatted with which ones."""


def toward_goals(name, goals, *, more=""):
    """A scheme that pages out cold memory toward goals; ``more`` is another line of its quota."""
    return (
        f"""\
version: 1
name: {name}
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: cold
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}}}
        quota:
          size: 100MiB
          every: 1s
          goals: [{goals}]
          {more}
""".rstrip(" \n")
        + "\n"
    )


def spare(size):
    """A scheme that pages out what filters leave, to be formatted with them."""
    return f"""\
version: 1
name: spare
kdamonds:
  - name: k
    ops: paddr
    targets: [{{{{system_ram: true}}}}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {{{{access_rate: {{{{max: 0%}}}}}}}}
        quota: {{{{size: {size}, every: 1s}}}}
        filters: [{{filters}}]
"""
