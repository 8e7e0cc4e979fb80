"""A real kernel whose type information cannot be read: what is edited is in the kernel then."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cgroups import cgroup
from .policy import KDAMONDS, wait_for
from .served import SECONDS, Service, content, serving

BTF = Path("/sys/kernel/btf")
POLICY = """
version: 1
name: careful
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}, age: {{min: 1h}}}}
        quota: {{size: 1MiB, every: 1s{more}}}
        young: last
        filters: [{filters}]
modules: {{damon_stat: {{enabled: false}}}}
"""
KEEP = "{reject: {memcg: {path: /keep.slice, subtree: false}}}"


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that was started where nobody could read the kernel's types, in 0 slots."""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(BTF)], check=True)
    try:
        assert not (BTF / "vmlinux").exists()
        with (
            cgroup("keep.slice"),
            serving(tmp_path_factory.mktemp("blind"), "--debounce", "200ms") as service,
        ):
            yield service
    finally:
        subprocess.run(["umount", str(BTF)], check=True)


def edit(service: Service, filters: str, more: str = "") -> None:
    """Let the service take a policy."""
    reloads = len(service.events("reload"))
    service.put("p.yaml", POLICY.format(filters=filters, more=more))
    assert wait_for(lambda: len(service.events("reload")) > reloads, SECONDS)
    assert service.events("reload")[-1]["result"] == "applied", service.log.read_text("utf-8")


def names(service: Service) -> dict[str, str]:
    """Return what the scheme's one filter says."""
    scheme = "0/contexts/0/schemes/0"
    layer = next(each for each in ("ops_filters", "filters")
                 if content(f"{scheme}/{each}/nr_filters") == "1")  # fmt: skip
    directory = KDAMONDS / scheme / layer / "0"
    assert content("0/state") == "on", service.log.read_text("utf-8")
    return {each.name: each.read_text("ascii").strip() for each in directory.iterdir()}


@pytest.mark.parametrize("filters", ["{reject: anon}", "{reject: {not: anon}}"])
def test_an_edited_filter_takes_the_place_of_the_old_one(blind: Service, filters: str) -> None:
    """What is wanted is what a new directory holds: it was left out, and the old one stayed."""
    edit(blind, KEEP)
    first = names(blind)
    pid = content("0/pid")
    edit(blind, filters)
    last = names(blind)

    assert (first["type"], first["memcg_path"]) == ("memcg", "/keep.slice")
    assert (last["type"], last["memcg_path"]) == ("anon", "")
    assert last["matching"] == ("N" if "not" in filters else "Y")
    assert last.get("allow", "N") == "N"
    assert content("0/pid") == pid or content("0/state") == "on"


def test_an_edit_back_to_what_kernels_do_anyway_is_written(blind: Service) -> None:
    goal = ", goals: [{metric: some_mem_psi_us, target: 10ms}]"
    quotas = "0/contexts/0/schemes/0/quotas"
    newer = (KDAMONDS / quotas / "goal_tuner").exists()
    edit(blind, KEEP, f"{goal}, tuner: temporal" if newer else goal)
    tuned = content(f"{quotas}/goal_tuner")
    edit(blind, KEEP, goal.replace("10ms", "20ms"))

    assert (tuned, content(f"{quotas}/goal_tuner")) == (
        ("temporal", "consist") if newer else ("", "")
    )
    assert content(f"{quotas}/goals/0/target_value") == "20000"
