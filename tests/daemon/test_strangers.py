"""As root the service takes only files that nobody else can change."""

from __future__ import annotations

import os

import pytest

from tests.daemon.jobs.test_observe import POLICY

pytestmark = pytest.mark.usefixtures("guarded")


@pytest.fixture
def desk(desk):
    desk.directory.chmod(0o755)
    return desk


def put(desk, mode=0o644):
    desk.put("r.yaml", POLICY)
    (desk.directory / "r.yaml").chmod(mode)


def refused(desk):
    """Return what is wrong; nothing was done for it."""
    outcome = desk.rest()
    assert outcome.kind == "invalid"
    (found,) = outcome.diagnostics
    assert found.code == "DP0046"
    return found


def test_what_only_root_can_change_is_applied(desk):
    put(desk)

    assert desk.rest().kind == "applied"


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_that_others_can_write_is_refused_until_it_is_mended(desk, mode):
    put(desk)
    desk.directory.chmod(mode)
    found = refused(desk)
    assert f"can change `{desk.directory}`" in found.message
    assert found.hint == f"look at it, then `chmod go-w {desk.directory}`"
    assert not desk.world.managed.policies

    desk.directory.chmod(0o755)
    assert desk.rest().kind == "applied"


def test_a_directory_above_is_looked_at_again_as_well(desk):
    put(desk)
    above = desk.directory.parent
    above.chmod(0o777)
    assert f"everyone can change `{above}`" in refused(desk).message

    above.chmod(0o755)
    assert desk.rest().kind == "applied"


def test_what_becomes_writable_leaves_the_last_good_policies(desk):
    put(desk)
    desk.rest()
    desk.put("r.yaml", POLICY.replace("name: r", "name: other"))
    (desk.directory / "r.yaml").chmod(0o666)

    assert f"everyone can change `{desk.directory}/r.yaml`" in refused(desk).message
    assert list(desk.world.managed.policies) == ["r"]
    os.unlink(desk.directory / "r.yaml")
    desk.directory.chmod(0o777)
    refused(desk)
    assert list(desk.world.managed.policies) == ["r"], "whoever could write removed it"


def test_files_of_somebody_else_are_refused(desk, give):
    put(desk)
    give(desk.directory / "r.yaml", 65533)

    assert "belongs to user 65533" in refused(desk).message


def test_a_link_leads_to_a_file_of_roots(desk, tmp_path):
    (tmp_path / "elsewhere.yaml").write_text(POLICY)
    (tmp_path / "elsewhere.yaml").chmod(0o666)
    (desk.directory / "r.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert f"everyone can change `{tmp_path}/elsewhere.yaml`" in refused(desk).message

    (tmp_path / "elsewhere.yaml").chmod(0o644)
    assert desk.rest().kind == "applied"


def test_files_of_variables_are_looked_at_alike(desk, tmp_path):
    put(desk)
    variables = tmp_path / "vars.yaml"
    variables.write_text("x: 1\n")
    variables.chmod(0o666)
    desk.reloader.variables = (str(variables),)

    assert f"everyone can change `{variables}`" in refused(desk).message


def test_without_root_nobody_is_kept_out(desk, monkeypatch):
    monkeypatch.undo()
    put(desk, 0o666)

    assert desk.rest().kind == "applied"
