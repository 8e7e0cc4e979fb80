"""Small files made to take hours or gigabytes are refused at once, at a stated limit."""

from __future__ import annotations

import json
import time

import pytest

from damonpolicy.base import limits
from damonpolicy.base.errors import ExitCode

HEAD = "version: 1\nname: p\n"
KDAMOND = "kdamonds:\n  - name: k\n    ops: paddr\n    targets: [{system_ram: true}]\n"
SCHEMES = f"{HEAD}{KDAMOND}    schemes:\n"
ALL = ", ".join(map(str, range(256)))


def every(line, count):
    return "".join(line.replace("NUMBER", str(number)) for number in range(count))


REFUSED = {
    "for-each-of-for-each": (
        (f"{HEAD}kdamonds:\n  - for_each: {{i: [{ALL}]}}\n    name: k{{{{ i }}}}\n    schemes:\n"
        f"      - for_each: {{j: [{ALL}]}}\n        name: s\n        action: stat\n"),
        "DP0031",
    ),
    "cpus": (
        (f"{HEAD}{KDAMOND}    accesses: {{cpus: '{','.join(['0-99999'] * 90_000)}'}}\n"
        "    schemes: [{name: s, action: stat}]\n"),
        "DP0122",
    ),
    "cpus-again-and-again": (
        (f"{HEAD}{KDAMOND}    accesses: {{cpus: '{','.join(['0-8191'] * 90_000)}'}}\n"
        "    schemes: [{name: s, action: stat}]\n"),
        "DP0122",
    ),
    "undefined-variables": (HEAD + "vars:\n" + every("  vNUMBER: '{{ wNUMBER }}'\n", 400), "DP0035"),
    "undefined-everywhere": (
        SCHEMES + every("      - {name: '{{ wNUMBER }}', action: stat}\n", 250),
        "DP0035",
    ),
    "unknown-keys": (HEAD + every("kNUMBER: 1\n", 60_000), "DP0013"),
    "keys": (HEAD + every("kNUMBER: 1\n", 600), "DP0033"),
    "variables": (HEAD + "vars:\n" + every("  vNUMBER: 1\n", 600), "DP0033"),
    "settings": (HEAD + "settings:\n" + every("  /proc/sys/vm/xNUMBER: 1\n", 600), "DP0033"),
    "wrong-items": (HEAD + "kdamonds:\n" + every("  - NUMBER\n", 100_000), "DP0013"),
    "targets": (
        HEAD + "kdamonds:\n  - name: k\n    targets:\n" + every("    - NUMBER\n", 9_000),
        "DP0033",
    ),
    "kdamonds": (HEAD + "kdamonds:\n" + every("  - {name: kNUMBER}\n", 129), "DP0032"),
    "schemes": (SCHEMES + every("      - {name: sNUMBER, action: stat}\n", 257), "DP0032"),
    "twenty-thousand-schemes": (
        SCHEMES + every("      - {name: sNUMBER, action: stat}\n", 20_000),
        "DP0013",
    ),
    "templates": (
        HEAD + "vars:\n" + every("  vNUMBER: \"{{ 'NUMBER'" + " ~ 'a'" * 150 + ' }}"\n', 80),
        "DP0036",
    ),
    "templates-repeated": (
        (f"{HEAD}kdamonds:\n  - for_each: {{i: [{ALL}]}}\n    name: k\n    schemes:\n"
        f"      - for_each: {{j: [1, 2, 3, 4, 5, 6, 7]}}\n        name: \"{{{{ {'i ~ ' * 180} i }}}}\"\n"),
        "DP0036",
    ),
    "a-repeat-of-repeats": (
        HEAD + "kdamonds:\n  - name: k\n    ops: vaddr\n    targets: [{process: {cmdline: '((a{50}){50}){50}'}}]\n",
        "DP0037",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_is_refused_at_its_limit(cli, tmp_path, name):
    text, code = REFUSED[name]
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    began = time.process_time()
    done = cli("validate", str(path))

    assert done.code == ExitCode.INVALID
    assert code in done.err
    assert len(done.err) < 100_000
    assert time.process_time() - began < 5  # minutes without the limit


def test_the_first_findings_are_shown_and_the_rest_are_counted(cli, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(SCHEMES + every("      - {name: same, action: stat}\n", 200))

    done = cli("validate", str(path))
    assert done.err.count("error[") == limits.FINDINGS.most
    assert "note[DP0035]: 99 more findings are not shown" in done.err
    document = json.loads(cli("validate", str(path), "--format", "json").out)
    assert len(document["diagnostics"]) == limits.FINDINGS.most + 1


def test_errors_are_shown_before_what_only_warns(cli, tmp_path):
    path = tmp_path / "p.yaml"
    warns = "filters: [{allow: {memcg: /machine.slice}}, {reject: anon}]"
    lines = every(f"      - {{name: sNUMBER, action: stat, {warns}}}\n", 150)
    path.write_text(f"{SCHEMES}{lines}      - {{name: wrong, action: nothing}}\n")

    assert "error[DP0104]: `nothing`" in cli("validate", str(path)).err


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_as_much_as_is_allowed_is_read_in_moments(cli, tmp_path, command):
    path = tmp_path / "p.yaml"
    lines = "      - {name: sNUMBER, action: stat, filters: [{reject: anon}], apply_every: 1s}\n"
    path.write_text(f"{SCHEMES}{every(lines, 256)}modules: {{damon_stat: {{enabled: false}}}}\n")
    began = time.process_time()

    assert cli(command, str(path), "--kernel", "emulated:7.3").code in (0, ExitCode.CHANGES)
    assert time.process_time() - began < 10


def test_more_policies_than_anybody_has_are_refused(cli, tmp_path, monkeypatch):
    few = limits.Limit("", 3, "", "DP0034")
    monkeypatch.setattr(limits, "POLICIES", few)
    for number in range(4):
        (tmp_path / f"{number}.yaml").write_text("version: 1\n")

    assert "DP0034" in cli("validate", str(tmp_path)).err


def test_long_messages_are_shortened_in_the_middle(cli, tmp_path):
    done = cli("validate", "x" * 5_000)

    line = done.err.splitlines()[0]
    assert len(line) < limits.MESSAGE.most + 100
    assert " … " in line
    assert line.endswith("file name too long")


def test_places_are_inside_of_their_file(cli, tmp_path):
    path = tmp_path / "p.yaml"
    for text in (
        "a: [\n",
        "a: 'b\n",
        "a: b: c",
        "\x01",
        "a: |\n  b\r\u2028\x02",
        '"',
        "- {",
        "a: !",
    ):
        path.write_bytes(text.encode())
        place = json.loads(cli("validate", str(path), "--format", "json").out)["diagnostics"][0]
        lines = text.splitlines()
        assert 1 <= place["place"]["line"] <= len(lines), text
        assert 1 <= place["place"]["column"] <= len(lines[place["place"]["line"] - 1]) + 1, text


def test_options_that_are_not_utf8_are_told(cli, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + "vars: {a: 1}\nsettings: {/proc/sys/vm/swappiness: '{{ a }}'}\n")

    done = cli("validate", str(path), "--set", "a=\udcff")
    assert done.code == ExitCode.INVALID
    assert "DP0038" in done.err


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
@pytest.mark.parametrize("how", ["validate", "--set", "--vars-file", "--kernel"])
def test_no_byte_of_the_command_line_is_a_defect(cli, tmp_path, form, how):
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + "vars: {a: 1}\nsettings: {/proc/sys/vm/swappiness: '{{ a }}'}\n")
    words = {"validate": ["validate", "x\udcff.yaml"]}.get(how) or [
        "validate",
        str(path),
        how,
        "\udcff",
    ]

    done = cli(*words, "--format", form)
    assert done.code in (ExitCode.INVALID, ExitCode.USAGE)
