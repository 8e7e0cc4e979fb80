"""Import of files that are deployed without a tool."""

from __future__ import annotations

import pytest
import yaml

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.modules import PARAMETERS
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.importer.policy import policy
from damonpolicy.policy.importer.replay import played
from damonpolicy.policy.importer.writes import deployed, writes
from damonpolicy.policy.source.files import SourceFile

EVERYTHING = Capabilities({each.name: Answer("yes", "assumed") for each in FEATURES})
TREE = "/sys/kernel/mm/damon/admin/kdamonds"
RECLAIM = "/sys/module/damon_reclaim/parameters"


def imported(text):
    listed, wrong = writes("f", text)
    assert not wrong
    made = played(listed, EmulatedMachine.create("damon-next"), "f")
    assert not [each for each in made.found if each.severity == "error"]
    return policy(made.sources, "p", EVERYTHING, None, modules=made.modules, spans=made.spans)


@pytest.mark.parametrize(
    "text",
    [
        "BOOT_IMAGE=/vmlinuz ro damon_reclaim.enabled=Y damon_reclaim.min_age=30000000 quiet\n",
        'GRUB_CMDLINE_LINUX="quiet damon_reclaim.enabled=1 damon_reclaim.min_age=30000000"\n',
        "# reclaim\noptions damon_reclaim enabled=on \\\n  min_age=30000000\n",
        f"w {RECLAIM}/min_age - - - - 30000000\nw- {RECLAIM}/enabled - - - - Y\n",
        f"#!/bin/sh\nset -e\nP={RECLAIM}\ncd $P\necho 30000000 > min_age; echo Y > ${{P}}/enabled\n",
        f"echo -n 30000000 | sudo tee {RECLAIM}/min_age > /dev/null && echo 1 >{RECLAIM}/enabled; echo Y > {RECLAIM}/commit_inputs\n",
        "modprobe damon_reclaim min_age=30000000 enabled=true\n",
    ],
)  # fmt: skip
def test_all_forms_say_the_same(text):
    assert deployed(text)
    became = imported(text)

    assert yaml.safe_load(became.text)["modules"] == {
        "damon_reclaim": {"enabled": True, "min_age": "30s"}
    }
    assert became.found == ()


SCRIPT = f"""\
#!/bin/sh
D={TREE}
echo 1 > $D/nr_kdamonds
echo 1 > $D/0/contexts/nr_contexts
cd $D/0/contexts/0
echo paddr > operations
echo 1 > targets/nr_targets
echo 1 > targets/0/regions/nr_regions
echo 4294967296 > targets/0/regions/0/start
echo 5368709120 > targets/0/regions/0/end
echo 1 > schemes/nr_schemes
echo stat > schemes/0/action
echo 18446744073709551615 > schemes/0/access_pattern/sz/max
echo 5 > schemes/0/access_pattern/nr_accesses/min
echo 20 > schemes/0/access_pattern/nr_accesses/max
echo 4294967295 > schemes/0/access_pattern/age/max
echo MARK
echo on > $D/0/state
"""


def test_a_script_becomes_a_kdamond_and_nothing_is_executed(tmp_path):
    became = imported(SCRIPT.replace("echo MARK\n", ""))

    assert "access_rate: {min: 25%, max: 100%}" in became.text
    assert "{start: 0x100000000, end: 0x140000000}" in became.text
    assert became.found == ()


@pytest.mark.parametrize(
    ("end", "line"), [("echo on > $D/0/state\necho off > $D/0/state\n", 18), ("", 4)]
)
def test_a_kdamond_that_the_script_leaves_off_is_told(end, line):
    text = SCRIPT.replace("echo MARK\n", "").replace("echo on > $D/0/state\n", end)
    listed, _ = writes("f", text)
    made = played(listed, EmulatedMachine.create("damon-next"), "f")

    assert [(each.code, each.span.line) for each in made.found] == [("DP0698", line)]


def test_what_is_not_damons_is_left_out_and_told():
    listed, _ = writes(
        "f",
        "echo Y > /sys/module/damon_reclaim/parameters/skip_anon\necho 1 > /sys/kernel/mm/ksm/run\n",
    )
    made = played(listed, EmulatedMachine.create("damon-next"), "f")

    assert made.modules == {"damon_reclaim": {"skip_anon": True}}
    assert [(each.code, each.severity, each.span.line) for each in made.found] == [
        ("DP0697", "warning", 2)
    ]


def test_what_no_policy_may_say_is_told_in_the_script():
    became = imported(SCRIPT.replace("MARK", "2000 > monitoring_attrs/nr_regions/min"))

    assert [(each.code, each.span.file, each.span.line) for each in became.found] == [
        ("DP0201", "f", 17)
    ]


def test_what_is_said_of_a_whole_filter_is_told_where_a_script_begins_it():
    filters = "schemes/0/ops_filters"
    allows = "".join(
        f"echo {name} > {filters}/{index}/{file}\n"
        for index, kind in enumerate(("anon", "young"))
        for file, name in (("type", kind), ("matching", "Y"), ("allow", "Y"))
    )
    became = imported(SCRIPT.replace("echo MARK\n", f"echo 2 > {filters}/nr_filters\n{allows}"))

    assert [(each.code, each.severity, each.span.line) for each in became.found] == [
        ("DP0680", "warning", 18)
    ]


def test_a_script_names_one_cgroup_whatever_it_looks_like():
    here = "schemes/0/ops_filters"
    writes_ = (
        f"1 > {here}/nr_filters\necho memcg > {here}/0/type\necho '/a[b]' > {here}/0/memcg_path"
    )
    became = imported(SCRIPT.replace("MARK", writes_))

    assert "memcg: {path: '/a[[]b]', subtree: false}" in became.text
    assert became.found == ()


def test_a_module_that_no_policy_may_say_is_told_where_it_stands():
    became = imported("options damon_reclaim\noptions damon_reclaim min_nr_regions=2\n")

    assert [(each.code, each.span.file, each.span.line) for each in became.found] == [
        ("DP0202", "f", 2)
    ]


@pytest.mark.parametrize("path", PARAMETERS)
def test_each_parameter_comes_back(path):
    """What the policy compiles to is what the kernel would hold."""
    value = {"bool": "Y", "count": "16", "permil": "123", "bp": "1234"}.get(
        PARAMETERS[path].unit, "12345000"
    )
    became = imported(f"echo {value} > {path}\n")
    refused = [each for each in became.found if each.severity == "error"]
    if PARAMETERS[path].name in ("addr_unit", "monitor_region_start"):  # alone they mean nothing
        assert [(each.span.file, each.span.line) for each in refused] == [("f", 1)]
        return
    assert not refused
    loaded = load([SourceFile("p.yaml", became.text)], Overrides(), machine=None)
    policies, _ = compile_policies(loaded, EVERYTHING, None)

    assert dict(policies["p"].settings) == {path: value}


@pytest.mark.parametrize(
    "line",
    ["for i in 1; do", "echo $(id) > /x", "echo `id` > /x", "echo $X > /x", "rm -rf /", "echo 1 >> /x",
     "echo 1", "echo 'a > /x", "if [ 1 ]; then", "cat /a > /b", "echo 1 | sh", "python x",
     "echo * > /x", "f() { :; }", "grep -q a /b && echo 1 > /x", "LC_ALL=C ./other.sh",
     r"echo 'a\tb' > /x", r"printf 'a\tb' > /x", "printf '%d' 1 > /x", "cd /a /b", "cd /a || reboot"],
)  # fmt: skip
def test_what_is_no_plain_write_is_refused_where_it_stands(line):
    found, wrong = writes("f", f"\n  {line}\n")

    assert found == []
    assert [(each.code, each.span.line, each.span.column) for each in wrong] == [("DP0695", 2, 3)]


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("A=5; echo $A > /x", "5"),
        ("A=5 B=6\necho $B > /x", "6"),
        ('export A=5\necho "${A}0" > /x', "50"),
        ("echo '$A' > /x", "$A"),
        ("printf '%s\\n' 'a\\tb' > /x", "a\\tb"),
        ("printf '5\\n' > /x", "5"),
        ("echo -e 5 > /x", "5"),
        ("echo 5 > /x 2>/dev/null", "5"),
        ("echo 5 > /x # costs $5, don't", "5"),
        ("# a comment \\\necho 5 > /x", "5"),
        ("cd /a || exit 1\necho 5 > ../x", "5"),
        ("echo 5 \\\n  > /x\nexit 0", "5"),
        ("echo 5 | sudo tee /x > /dev/null", "5"),
    ],
)
def test_a_line_means_what_it_means_to_a_shell(script, value):
    found, wrong = writes("f", f"#!/bin/sh\n{script}\n")

    assert wrong == []
    assert [(each.path, each.value) for each in found] == [("/x", value)]


def test_nothing_is_read_behind_an_exit():
    found, wrong = writes("f", "#!/bin/sh\nexit 0\necho 5 > /x\n")

    assert found == []
    assert [each.span.line for each in wrong] == [3]


def test_names_without_a_directory_are_lost_behind_a_cd_that_cannot_be_read():
    found, wrong = writes("f", "#!/bin/sh\ncd $HOME\necho 5 > x\necho 5 > /y\n")

    assert [each.path for each in found] == ["/y"]
    assert [each.span.line for each in wrong] == [2, 3]


def test_a_line_that_goes_on_keeps_the_numbers_of_those_behind_it():
    _, wrong = writes("f", "#!/bin/sh\necho 5 \\\n  > /x\nfoo bar\n")

    assert [each.span.line for each in wrong] == [4]


@pytest.mark.parametrize(
    "text",
    [
        "damon_reclaim.enabled damon-reclaim.min-age=30000000",
        "options damon-reclaim enabled min_age=30000000",
        "#!/bin/sh\nmodprobe -q damon_reclaim enabled min_age=30000000",
    ],
)
def test_bare_names_and_dashes_are_those_of_the_kernel(text):
    became = yaml.safe_load(imported(f"{text}\n").text)

    assert became["modules"] == {"damon_reclaim": {"enabled": True, "min_age": "30s"}}


def test_a_test_is_no_write():
    text = f"#!/bin/sh\ngrep -q damon_reclaim.enabled=Y /proc/cmdline\necho 1 > {RECLAIM}/min_age\n"
    found, wrong = writes("f", text)

    assert [each.path for each in found] == [f"{RECLAIM}/min_age"]
    assert [each.span.line for each in wrong] == [2]


def test_sysctls_of_a_command_line_are_told():
    listed, _ = writes("f", "damon_reclaim.enabled=Y sysctl.vm.swappiness=70\n")
    made = played(listed, EmulatedMachine.create("damon-next"), "f")

    assert [each.code for each in made.found] == ["DP0697"]


def test_a_script_costs_no_more_than_it_is_long():
    bomb = "A=xxxxxxxx\n" + "A=$A$A\n" * 30
    _, wrong = writes("f", f"#!/bin/sh\n{bomb}echo 1 > /x\n")
    assert {each.code for each in wrong} == {"DP0695"}

    _, wrong = writes("f", "#!/bin/sh\n" + "foo\n" * 200_000)
    assert len(wrong) < 200

    value = "#!/bin/sh\necho 0x" + "f" * 4000 + f" > {RECLAIM}/enabled\n"
    listed, _ = writes("f", value)
    made = played(listed, EmulatedMachine.create("damon-next"), "f")
    assert [each.code for each in made.found] == ["DP0696"]
