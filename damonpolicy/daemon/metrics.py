"""Metrics for Prometheus, on an endpoint in a thread of its own.

It shows the last observation: a scrape asks the kernel nothing.
"""

from __future__ import annotations

import gzip
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder, gzip_accepted

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError, UsageError, reason_of
from damonpolicy.daemon.endpoint import Answer, Endpoint, Request
from damonpolicy.daemon.jobs.observe import Observation
from damonpolicy.daemon.jobs.status_file import Figures
from damonpolicy.observe.collect.modules import ModuleStatus

__all__ = ("Exporter", "families", "read_address")

_LOOPBACK = "127.0.0.1"
_PERCENTILES = (0, 25, 50, 75, 100)
_RESULTS = ("applied", "unchanged", "invalid", "failed", "gone")
_COUNTS = {
    "sz_tried": (
        "tried_bytes", "Memory that matched a scheme's pattern, counted at each application.",
    ),
    "sz_applied": ("applied_bytes", "Memory to which a scheme's action was applied."),
    "sz_ops_filter_passed": ("passed_bytes", "Memory that passed a scheme's filters."),
    "qt_exceeds": ("quota_exceeds", "Times that a scheme's quota was used up."),
}  # fmt: skip
"""The metrics of a scheme's statistics, by the kernel's names."""


class Exporter:
    """A server of the figures that `publish` took last."""

    def __init__(self, address: str, take: Callable[[], Figures]) -> None:
        """Listen; only `publish`, in the service's own thread, calls ``take``.

        Raises UsageError for an invalid address, DamonPolicyError if listening there is impossible.
        """
        host, port = read_address(address)
        self._take = take
        self._figures = Figures()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        try:
            self._endpoint = Endpoint(host, port, self._answer)
        except OSError as error:
            message = f"cannot serve metrics on `{address}`: {reason_of(error)}"
            hint = "choose another port with `--metrics ADDRESS:PORT`, or leave it out"
            raise DamonPolicyError(message, hint=hint) from error
        self.port = self._endpoint.port
        log.info("metrics", address=_shown(host, self.port))

    def publish(self) -> None:
        """Take the figures to serve from now on."""
        self._figures = self._take()

    def stop(self) -> None:
        """Stop listening."""
        self._endpoint.stop()

    def _answer(self, request: Request) -> Answer:
        """Write the metrics in the client's format; ``?name[]=`` selects some of them."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        names = parse_qs(request.target.partition("?")[2]).get("name[]")
        text = encode(self._registry.restricted_registry(names) if names else self._registry)
        headers = {"Content-Type": kind}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            text, headers["Content-Encoding"] = gzip.compress(text), "gzip"
        return Answer(text, headers)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for the registry."""
        return families(self._figures)

    def describe(self) -> list[Metric]:
        """Return the metrics without values, as their names are known."""
        return list(families(Figures()))


def read_address(text: str) -> tuple[str, int]:
    """Read ``ADDRESS:PORT``; without an address it is this machine's own loopback.

    Host names are not looked up, as their addresses may change.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _LOOPBACK
    try:
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            message = "no port"
            raise ValueError(message)
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError as error:
        message = f"`--metrics {text[:60]}` is not an address and a port"
        hint = "write for example `--metrics 127.0.0.1:9797`"
        raise UsageError(message, hint=hint) from error


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def families(figures: Figures) -> Iterator[Metric]:
    """Yield the figures, by metric."""
    yield _value("up", "Whether the service runs.", 1)
    reloads = _counter("reloads", "Reloads of policy files, by result.", "result")
    for result in _RESULTS:
        reloads.add_metric([result], figures.reloads.get(result, 0))
    yield reloads
    for name, text, count in (
        ("applies", "Transactions that applied changed files.", figures.applies),
        ("rollbacks", "Transactions that failed and were undone.", figures.rollbacks),
        ("follow_commits", "Commits that followed processes, cgroups or memory.", figures.commits),
        ("feed_writes", "Goal values that were written to the kernel.", figures.feeds),
        ("drifts", "Files and settings that had drifted.", figures.drifts),
        ("repairs", "Transactions that repaired drift.", figures.repairs),
    ):
        yield CounterMetricFamily(f"damonpolicy_{name}", text, value=count)
    text = "Failures of the service's jobs; each is retried later."
    failures = _counter("job_failures", text, "job")
    for job, count in figures.failures.items():
        failures.add_metric([job], count)
    yield failures
    if figures.reload_ok is not None:
        text = "Whether the last reload succeeded."
        yield _value("last_reload_successful", text, figures.reload_ok)
    if figures.in_force is not None:
        text = "Whether the last reload succeeded, and nothing has drifted since."
        yield _value("in_force", text, figures.in_force)
    if figures.reloaded_at is not None:
        text = "Time of the last reload without an error, in seconds since the epoch."
        yield _value("last_reload_success_timestamp_seconds", text, figures.reloaded_at)
        text = "The policy files that are applied."
        yield InfoMetricFamily("damonpolicy_policies", text, value={"digest": figures.digest})
    text = "How far a loop is from its target, as a share of it."
    error = _gauge("loop_error_ratio", text, "loop")
    for loop, share in figures.errors.items():
        error.add_metric([loop], share)
    yield error
    yield from _observed(figures.observation)


def _observed(observation: Observation | None) -> Iterator[Metric]:
    if observation is not None:
        yield _value("generation", "The generation that is in force.", observation.generation)
        text = "Files and settings that differ from the last commit."
        yield _value("drift_files", text, len(observation.drift))
        text = "Time of the last observation of the kernel, in seconds since the epoch."
        yield _value("last_observation_timestamp_seconds", text, observation.at)
        if observation.free is not None:
            text = "The share of memory that is free, as watermarks measure it."
            yield _value("free_memory_ratio", text, observation.free / 1_000)
        yield from _modules(observation.modules)
    targets = _gauge("targets", "What a kdamond monitors.", "kdamond")
    cpu = _counter("kdamond_cpu_seconds", "CPU time of a kdamond's thread.", "kdamond")
    labels = ("kdamond", "scheme")
    counts = {
        field: _counter(f"scheme_{name}", text, *labels) for field, (name, text) in _COUNTS.items()
    }
    quota = _gauge("scheme_effective_quota_bytes", "A scheme's quota in effect.", *labels)
    score = _gauge("scheme_goal_ratio", "How far a scheme's goals are reached.", *labels)
    asleep = _gauge("scheme_asleep", "Whether watermarks keep a scheme asleep.", *labels)
    for kdamond in observation.kdamonds if observation else ():
        targets.add_metric([kdamond.name], kdamond.targets)
        if kdamond.cpu is not None:
            cpu.add_metric([kdamond.name], kdamond.cpu)
        for scheme in kdamond.schemes:
            names = [kdamond.name, scheme.name]
            for field, family in counts.items():
                if field in scheme.statistics:
                    family.add_metric(names, scheme.statistics[field])
            if scheme.effective is not None:
                quota.add_metric(names, scheme.effective)
            if scheme.watch is not None and scheme.watch.asleep is not None:
                asleep.add_metric(names, scheme.watch.asleep)
            if scheme.score is not None:
                score.add_metric(names, scheme.score / 10_000)
    yield from (targets, cpu, *counts.values(), quota, score, asleep)


def _modules(modules: Sequence[ModuleStatus]) -> Iterator[Metric]:
    """Yield the figures of DAMON's modules."""
    asleep = _gauge("module_asleep", "Whether watermarks keep a module asleep.", "module")
    text = "A DAMON module's own figures, by parameter."
    figures = _gauge("module_figure", text, "module", "parameter")
    text = "Percentiles of memory by idle time."
    idle = _gauge("module_idle_seconds", text, "module", "percentile")
    for each in modules:
        if each.watch is not None and each.watch.asleep is not None:
            asleep.add_metric([each.name], each.watch.asleep)
        for name, value in each.figures.items():
            figures.add_metric([each.name, name], value)
        if any(each.idle):
            for percent in _PERCENTILES:
                idle.add_metric([each.name, str(percent)], each.idle[percent] / 1_000)
    yield from (asleep, figures, idle)


def _value(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"damonpolicy_{name}", text, value=value)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"damonpolicy_{name}", text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"damonpolicy_{name}", text, labels=labels)
