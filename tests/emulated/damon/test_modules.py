import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.machine import EmulatedMachine

WITH_STAT = ("6.18", "7.3")


def at(module, name="enabled"):
    return f"/sys/module/damon_{module}/parameters/{name}"


@pytest.mark.parametrize("version", WITH_STAT)
def test_damon_stat_runs_from_boot_and_lets_nobody_else(version, making):
    kernel = making(version)
    assert kernel.read(at("stat")) == "Y"
    kernel.context()
    kernel.write(at("stat"), "Y")

    assert kernel.command("on") == "EBUSY"
    assert kernel.write(at("reclaim"), "Y") == "EBUSY"
    assert kernel.write(at("stat"), "Y") == "ok"
    assert kernel.write(at("stat"), "x") == "EINVAL"
    assert kernel.write(at("stat"), "N") == "ok"
    assert kernel.command("on") == "ok"


@pytest.mark.parametrize("module", ["stat", "reclaim", "lru_sort"])
def test_a_module_does_not_start_beside_others(every, module):
    if not every.machine.exists(at(module)):
        assert (module, every.machine.profile.version) == ("stat", "6.12")
        return
    every.context()
    every.command("on")

    assert every.write(at(module), "Y") == "EBUSY"
    assert every.read(at(module)) == "N"
    every.command("off")
    assert every.write(at(module), "Y") == "ok"
    assert every.read(at(module)) == "Y"
    assert every.command("on") == "EBUSY"
    assert every.state() == "off"


def test_invalid_configurations_are_found_first(kernel):
    kernel.context()
    kernel.write(at("stat"), "Y")
    kernel.write("0/contexts/0/targets/0/pid_target", 999999)

    assert kernel.command("on") == "EINVAL"


def test_a_running_module_has_a_thread(kernel):
    pid = kernel.read(at("stat", "kdamond_pid"))
    assert kernel.read(f"/proc/{pid}/comm") == "kdamond.0"

    kernel.write(at("stat"), "N")

    assert kernel.read(f"/proc/{pid}/comm") == "ENOENT"
    assert kernel.read(at("stat", "kdamond_pid")) == "-1"


def test_parameters(kernel):
    for text, answer, value in (("5", "ok", "5"), ("0x10", "ok", "16"), ("x", "EINVAL", "16"),
                                ("18446744073709551616", "ERANGE", "16"), ("", "ok", "16")):  # fmt: skip
        assert kernel.write(at("reclaim", "min_age"), text) == answer
        assert kernel.read(at("reclaim", "min_age")) == value
    assert kernel.write(at("reclaim", "kdamond_pid"), "1") == "EACCES"
    kernel.write(at("stat"), "N")
    kernel.write(at("reclaim", "min_nr_regions"), 2)
    assert kernel.write(at("reclaim"), "Y") == "EINVAL"


@pytest.mark.parametrize(
    ("version", "before", "after"), [("6.18", "ok", "ok"), ("7.3", "EINVAL", "ECANCELED")]
)
def test_commit_inputs(version, before, after, making):
    kernel = making(version)
    kernel.write(at("stat"), "N")
    path = at("reclaim", "commit_inputs")
    assert kernel.write(path, "Y") == before
    kernel.write(path, "N")
    kernel.write(at("reclaim"), "Y")

    assert kernel.write(path, "Y") == "ok"
    kernel.machine.sleep(6)
    assert kernel.read(path) == "N", "the kdamond takes it back"
    kernel.write(at("reclaim"), "N")
    assert kernel.write(path, "Y") == after


def test_modules_of_the_description():
    machine = EmulatedMachine.create(
        "6.18", spec={"modules": {"damon_stat": False, "damon_reclaim": True}}
    )
    assert machine.read(at("reclaim")) == "Y\n"
    assert machine.read(at("stat")) == "N\n"
    with pytest.raises(UsageError, match="no module `damon_stat`"):
        EmulatedMachine.create("6.12", spec={"modules": {"damon_stat": False}})


def region(kernel):
    names = ("monitor_region_start", "monitor_region_end")
    return tuple(int(kernel.read(at("reclaim", name))) for name in names)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("version", "chosen"),
    [
        ("6.12", (4 * GIB, 5 * GIB - 1)),
        ("7.0", (4 * GIB, 5 * GIB - 1)),
        ("7.1", (4 * GIB, 5 * GIB)),
        ("7.2", (4096, 5 * GIB)),
        ("7.3", (4096, 5 * GIB)),
    ],
)
def test_a_module_without_a_region_is_given_one_whenever_it_takes_its_parameters(
    version, chosen, making
):
    kernel = making(version)
    if kernel.machine.exists(at("stat")):
        kernel.write(at("stat"), "N")
    kernel.write(at("reclaim"), "Y")
    assert region(kernel) == chosen
    kernel.write(at("reclaim", "monitor_region_start"), 0)
    kernel.write(at("reclaim", "monitor_region_end"), 0)
    assert region(kernel) == (0, 0)
    kernel.write(at("reclaim", "commit_inputs"), "Y")
    kernel.machine.sleep(6)

    assert region(kernel) == chosen


@pytest.mark.parametrize(
    ("version", "enabled", "off"),
    [("6.12", "N", "ok"), ("6.16", "Y", "EPERM"), ("6.17", "Y", "ok"), ("7.1", "Y", "ok")],
)
def test_commit_inputs_with_a_bad_parameter(version, enabled, off, making):
    """As seen on these kernels: it ends, it hangs for ever, or it continues as before."""
    kernel = making(version)
    if kernel.machine.exists(at("stat")):
        kernel.write(at("stat"), "N")
    kernel.write(at("reclaim"), "Y")
    pid = kernel.read(at("reclaim", "kdamond_pid"))
    kernel.write(at("reclaim", "min_nr_regions"), 2)
    assert kernel.write(at("reclaim", "commit_inputs"), "Y") == "ok"
    kernel.machine.sleep(6)

    assert kernel.read(at("reclaim", "commit_inputs")) == "N"
    assert kernel.read(at("reclaim")) == enabled
    alive = kernel.read(f"/proc/{pid}/comm") == "kdamond.0"
    assert alive is (version not in ("6.12", "6.16"))
    kernel.write(at("reclaim", "min_nr_regions"), 10)
    assert kernel.write(at("reclaim"), "N") == off


def test_newer_kernels_answer_a_bad_parameter(making):
    kernel = making("7.3")
    kernel.write(at("stat"), "N")
    kernel.write(at("reclaim"), "Y")
    kernel.write(at("reclaim", "min_nr_regions"), 2)

    assert kernel.write(at("reclaim", "commit_inputs"), "Y") == "EINVAL"
    assert kernel.read(at("reclaim")) == "Y"


@pytest.mark.parametrize(
    ("version", "answer"), [("6.12", "EINVAL"), ("6.18", "ok"), ("7.1", "EINVAL")]
)
def test_an_empty_region(version, answer, making):
    kernel = making(version)
    if kernel.machine.exists(at("stat")):
        kernel.write(at("stat"), "N")
    kernel.write(at("reclaim", "monitor_region_start"), 1 << 25)
    kernel.write(at("reclaim", "monitor_region_end"), 1 << 25)
    assert kernel.write(at("reclaim"), "Y") == answer


def test_an_address_unit_is_never_zero(making):
    kernel = making("6.18")
    assert kernel.write(at("reclaim", "addr_unit"), 0) == "EINVAL"
    assert kernel.read(at("reclaim", "addr_unit")) == "1"


def test_parameters_of_the_description_are_set_at_boot():
    described = {"damon_stat": False, "damon_reclaim": {"enabled": True, "min_age": 30_000_000}}
    machine = EmulatedMachine.create("7.3", spec={"modules": described})

    for _ in range(2):
        assert machine.read(at("reclaim")) == "Y\n"
        assert machine.read(at("reclaim", "min_age")) == "30000000\n"
        machine.reboot()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_agee": "1"}, "takes no `min_agee`"),
        ({"kdamond_pid": "1"}, "takes no `kdamond_pid`"),
        ({"min_age": "soon"}, "refuses `damon_reclaim.min_age=soon`"),
        ({"min_nr_regions": 1, "enabled": "Y"}, "refuses `damon_reclaim.enabled=Y`"),
    ],
)
def test_parameters_that_the_kernel_refuses_are_told(parameters, message):
    with pytest.raises(UsageError, match=message):
        EmulatedMachine.create(
            "7.3", spec={"modules": {"damon_stat": False, "damon_reclaim": parameters}}
        )
