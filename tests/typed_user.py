"""A user's tests of a policy, of which each public name has the type that its page promises."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, assert_type

from damonpolicy import __version__
from damonpolicy.testing import Checked, DamonPolicyError, Diagnostic, Host, check

assert_type(__version__, str)


def findings(policy: Path) -> list[str]:
    checked = check(policy, {"cold_for": "1m"}, kernel="6.12")
    assert_type(checked, Checked)
    assert_type(checked.findings, tuple[Diagnostic, ...])
    assert_type(checked.errors, tuple[Diagnostic, ...])
    assert_type(checked.files, Mapping[str, Mapping[str, str]])
    assert_type(checked.settings, Mapping[str, str])
    for each in checked.findings:
        assert_type(each.severity, Literal["error", "warning", "note"])
        assert_type(each.code, str)
        assert_type(each.message, str)
        assert_type(each.hint, str)
        assert_type(each.span.line if each.span else 0, int)
    return [each.code for each in check("version: 1\n").findings]


def files(directory: Path) -> Mapping[str, str]:
    host = Host("7.3", directory, directory / "machine.toml")
    try:
        host.apply(directory / "policy.yaml", {"cold_for": "1m"})
    except DamonPolicyError as error:
        assert_type(error.code, str)
        assert_type(error.diagnostics, tuple[Diagnostic, ...])
    assert_type(host.read("/proc/uptime"), str)
    return assert_type(host.files("policy/kdamond"), Mapping[str, str])
