"""A cache of compiled policies, to look into."""

from __future__ import annotations

from dataclasses import replace

from damonpolicy.base.diagnostics import Span
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile import cache
from damonpolicy.policy.compile.loading import Given, compile_given
from damonpolicy.policy.source.files import SourceFile

TEXT = """\
version: 1
name: p
vars: {node: 0, age: 2m}
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: "{{ node }}"}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {access_rate: {max: 0%}, age: {min: "{{ age }}"}}
        filters: [{allow: {memcg: /system.slice/**}}]
        quota: {size: 1GiB, every: 1s, goals: [{metric: some_mem_psi_us, target: 1ms}]}
settings: {/sys/kernel/mm/ksm/run: 1}
on_drift: repair
"""
FEW = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: postgres}}, {process: {name: nginx}}]
    schemes: [{name: s, action: stat}]
"""
OTHER = "version: 1\nname: other\nsettings: {/sys/kernel/mm/ksm/run: 1}\n"
ZONES = """\
Node 0, zone      DMA
  pages free     2816
        spanned  4095
    cpu: 0
  start_pfn:           1
"""
FILES = (SourceFile("p.yaml", TEXT),)


class Kept:
    """A cache of its own, a machine, and how often policies were compiled."""

    def __init__(self, directory):
        self.directory = directory
        self.machine = EmulatedMachine.create("7.3")
        self.given = Given(FILES)
        self.options = {}
        self.compiled = 0

    @property
    def capabilities(self):
        return detect(self.machine, snapshot(self.machine))

    def counted(self, *arguments, **options):
        self.compiled += 1
        return compile_given(*arguments, **options)

    def recall(self):
        """Return what is recalled; it is what compiling gives."""
        arguments = (self.given, self.machine, self.capabilities)
        found = cache.recalled(*arguments, **self.options)
        assert plain(found) == plain(compile_given(*arguments, **self.options))
        return found

    @property
    def entries(self):
        return sorted(self.directory.glob("*.json"))

    @property
    def entry(self):
        (found,) = self.entries
        return found


def plain(compiled):
    spans = {
        key: each if isinstance(each, Span) else each.spot for key, each in compiled.spans.items()
    }
    return replace(compiled, spans=spans)
