"""Sources of the numbers that tune a policy: `Meter`.

A source is plain data, as a generation keeps it: one of the keys of `KINDS`, and its options. An
unreadable or old number is `Stale`, as damonpolicy never acts on old numbers.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from damonpolicy.base import etc, trust
from damonpolicy.base.errors import DamonPolicyError, reason_of
from damonpolicy.kernel.system.cgroups import MOUNT
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.tuning import ask
from damonpolicy.tuning.ask import Unread

__all__ = ("Meter", "Reader", "Source", "Stale")

_NUMBER = re.compile(
    r"[-+]?(?:[0-9]{1,64}(?:\.[0-9]{0,64})?|\.[0-9]{1,64})(?:[eE][-+]?[0-9]{1,2})?"
)
_SECONDS = 2.0
"""The longest time that a source may take, as nothing else happens meanwhile."""
_MOST_BYTES = 1 << 20
_ODD = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
        RecursionError)  # fmt: skip
"""Errors of a read if a source has the wrong form."""

Source = Mapping[str, Any]
Reader = Callable[[Machine, Source], Fraction]
"""A reader; raises Stale, or errors that `Meter.read` converts to it."""


class Stale(Exception):
    """There is no number, or only an old one; the text gives the reason."""


class Meter:
    """A repeated reader of a source; a rate needs two readings."""

    def __init__(
        self, machine: Machine, source: Source, more: Mapping[str, Reader] | None = None
    ) -> None:
        """``more`` has readers of the kinds that need more than the machine."""
        self._machine = machine
        self._source = source
        readers = {**_READERS, **(more or {})}
        self._kind = next(kind for kind in readers if source.get(kind) is not None)
        self._read = readers[self._kind]
        self._last: tuple[float, Fraction] | None = None
        self.lost = 0.0
        """The seconds that the last reading took, if it failed."""

    def __str__(self) -> str:
        named = self._source[self._kind]
        return f"{self._kind} {named[0] if self._kind == 'command' else named}"

    def read(self) -> Fraction:
        """Return the number times the source's factor; a rate is per second.

        Raises Stale; for a rate also the first time, and after a counter was reset.
        """
        begin, self.lost = time.monotonic(), 0.0
        try:
            value = self._read(self._machine, self._source)
        except (*_ODD, DamonPolicyError) as error:
            self._last, self.lost = None, time.monotonic() - begin
            raise Stale(f"{self}: {_reason(error)}") from error
        if self._source.get("as", "value") == "rate":
            value = self._rate(value)
        return value * Fraction(self._source.get("times", 1))

    def _rate(self, value: Fraction) -> Fraction:
        now, last = self._machine.monotonic(), self._last
        self._last = (now, value)
        if last is None:
            raise Stale(f"{self}: a rate needs two readings")
        if value < last[1]:
            raise Stale(f"{self}: its count started over")
        if now <= last[0]:
            raise Stale(f"{self}: no time has passed")
        return (value - last[1]) / Fraction(now - last[0])


def _reason(error: Exception) -> str:
    """Return the reason without any of the content, which a library's message may quote."""
    if isinstance(error, OSError):
        return reason_of(error)
    if isinstance(error, DamonPolicyError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    if isinstance(error, KeyError):  # the key is ours or the policy's
        return f"there is no `{error.args[0]}`"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if isinstance(error, Unread) else "it has not the form that it should have"


def _number(text: str) -> Fraction:
    """Read a number as programs write it; infinity, NaN and huge numbers are refused.

    Other content is never shown, only its kind, as it may be a secret.
    """
    word = text.strip()
    if not word:
        raise Unread("it holds nothing")
    if not _NUMBER.fullmatch(word):
        odd = re.fullmatch(r"[-+]?(?:(nan)|inf(?:inity)?)", word, re.IGNORECASE)
        kind = "text" if odd is None else "NaN" if odd[1] else "infinity"
        raise Unread(f"it holds {kind}, not a number")
    return Fraction(word)


def _keyed(text: str, key: str) -> Fraction:
    """Find a line `KEY NUMBER`, as in /proc/vmstat, or `KEY: NUMBER`."""
    for line in text.splitlines():
        name, _, rest = line.replace(":", " ", 1).partition(" ")
        if name == key and rest.split():
            return _number(rest.split()[0])
    raise KeyError(key)


_AHEAD = 60.0
"""Seconds that a number's date may be ahead of ours, as clocks differ."""


def _fresh(age: float, source: Source) -> None:
    limit = source.get("stale_after")
    if limit is not None and age > limit:
        raise Unread(f"it is {age:.0f} s old")
    if limit is not None and age < -_AHEAD:  # a clock was set back: the age is unknown
        raise Unread(f"its date is {-age:.0f} s ahead")


_MADE_AS_READ = re.compile(
    "bpf|cgroup2?|configfs|debugfs|devpts|efivarfs|fusectl|mqueue"
    "|proc|pstore|resctrl|securityfs|selinuxfs|sysfs|tracefs"
)
_MOUNTS = "/proc/self/mountinfo"


def _dated(status: os.stat_result) -> bool:
    """Return whether the date of an open file is meaningful, by its file system.

    The kernel's own file systems make content at each read; their dates are at best those of the
    first lookup.
    """
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
            kinds = {kind for line in file if (kind := _mounted(line, device))}
    except OSError:  # without /proc no such file can be read
        return True
    return not any(map(_MADE_AS_READ.fullmatch, kinds))


def _mounted(line: str, device: str) -> str:
    """Return the type of a mounted file system if it has a device (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(), after.split()
    return kind[0] if kind and len(fields) > 2 and fields[2] == device else ""


def _file(_: Machine, source: Source) -> Fraction:
    """Read the program's own file, wherever the kernel is."""
    descriptor, real, public = trust.open_public(source["file"])
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not public and os.geteuid() == 0 and not etc.within(real, etc.named(etc.SOURCES)):
            raise Unread(f"not everybody may read `{real}`, and it is not in {etc.SOURCES}")
        if source.get("stale_after") is not None and _dated(status):
            _fresh(time.time() - status.st_mtime, source)
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:  # the cut may be inside a number
        raise Unread(f"it is longer than {_MOST_BYTES >> 20} MiB")
    text = data.decode("utf-8", "replace")
    key = source.get("key")
    return _keyed(text, key) if key else _number(text)


def _below(directory: str, name: str) -> str:
    """Return a path below a directory, which it can never leave."""
    if not name or ".." in name.split("/"):
        raise Unread(f"`{name}` leads out of `{directory}`")
    return f"{directory}/{name.lstrip('/')}"


def _psi(machine: Machine, source: Source) -> Fraction:
    """Microseconds of stall so far (Documentation/accounting/psi.rst)."""
    resource, cgroup = source["psi"], source.get("cgroup")
    if cgroup:
        path = _below(MOUNT, f"{cgroup}/{resource}.pressure")
    else:
        path = _below("/proc/pressure", resource)
    for line in machine.read(path).splitlines():
        share, *fields = line.split()
        if share == source.get("share", "some"):
            values = dict(each.split("=", 1) for each in fields)
            return _number(values["total"])
    raise KeyError(source.get("share", "some"))


def _vmstat(machine: Machine, source: Source) -> Fraction:
    return _keyed(machine.read("/proc/vmstat"), source["vmstat"])


def _memory_stat(machine: Machine, source: Source) -> Fraction:
    path = _below(MOUNT, f"{source.get('cgroup', '')}/memory.stat")
    return _keyed(machine.read(path), source["memory_stat"])


def _ksm(machine: Machine, source: Source) -> Fraction:
    return _number(machine.read(_below("/sys/kernel/mm/ksm", source["ksm"])))


def _get(url: str) -> str:
    return ask.get(url, seconds=_SECONDS, most=_MOST_BYTES)


def _exporter(_: Machine, source: Source) -> Fraction:
    """Read one series of a Prometheus endpoint, such as `name{label="value"}`."""
    from prometheus_client.parser import text_string_to_metric_families as families

    name, labels = _series(source["series"])
    # Errors in other series do not matter.
    lines = (line for line in _get(source["exporter"]).split("\n") if line.startswith(name))
    for family in families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return _number(repr(sample.value))
    raise KeyError(source["series"])


def _series(text: str) -> tuple[str, Mapping[str, str]]:
    """Read a name with labels as an endpoint writes it: values may hold anything."""
    from prometheus_client.parser import text_string_to_metric_families as families

    try:
        (sample,) = [each for found in families(f"{text.strip()} 0\n") for each in found.samples]
    except ValueError:
        raise Unread(f'`{text[:40]}` is not a series such as `name{{label="value"}}`') from None
    return sample.name, sample.labels


def _prometheus(_: Machine, source: Source) -> Fraction:
    """Ask a query of Prometheus; the answer has to be one number."""
    import json

    url = f"{source['prometheus'].rstrip('/')}/api/v1/query?query={quote(source['query'])}"
    data = json.loads(_get(url))["data"]
    found = [data["result"]] if data["resultType"] == "scalar" else [
        each["value"] for each in data["result"]
    ]  # fmt: skip
    if len(found) != 1:
        raise Unread(f"the query gives {len(found)} values")
    when, text = found[0]
    _fresh(time.time() - float(_number(str(when))), source)
    return _number(str(text))


def _command(_: Machine, source: Source) -> Fraction:
    """Run a program from the administrator's list; its last line is the number."""
    words = list(source["command"])
    if words[0] not in etc.named(etc.PROGRAMS):
        raise Unread(f"`{words[0]}` is not in {etc.PROGRAMS}")
    # otherwise anybody who can exchange it gets its rights
    os.close(trust.open_trusted(words[0], etc.ROOT, os.O_PATH))
    lines = ask.said(words, seconds=_SECONDS, most=_MOST_BYTES).split()
    return _number(lines[-1] if lines else "")


_READERS: Mapping[str, Reader] = {
    "file": _file,
    "psi": _psi,
    "vmstat": _vmstat,
    "memory_stat": _memory_stat,
    "ksm": _ksm,
    "exporter": _exporter,
    "prometheus": _prometheus,
    "command": _command,
}
"""The reader of each kind of source, by its key."""
