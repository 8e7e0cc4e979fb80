"""Tasks of one word each: `nox -s tests`; `nox --list` shows all of them.

They run in the environment that `nox` itself is in: CONTRIBUTING.md says how to set it up.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["style", "types", "floors", "tests"]


@nox.session
def style(session: nox.Session) -> None:
    """Check style and format."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy")


@nox.session
def floors(session: nox.Session) -> None:
    """Check that modules import only from floors below."""
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the emulated kernel, or those that are named."""
    named = session.posargs or ["-m", "not kernel"]
    session.run("pytest", "-q", "-n", "auto", *named)


@nox.session
def kernels(session: nox.Session) -> None:
    """Run the tests inside real kernels: `nox -s kernels -- 7.3`."""
    session.run("python", "-m", "tests.guest.run", *session.posargs)


@nox.session
def pages(session: nox.Session) -> None:
    """Make the pages and schemas that are generated."""
    session.run("python", "docs/generate.py")


@nox.session
def goldens(session: nox.Session) -> None:
    """Rewrite the files that tests compare in full; read the diff."""
    named = session.posargs or ["tests/errors", "tests/golden", "tests/policy/model", "tests/docs"]
    session.run("pytest", "-q", "-n", "auto", *named, env={"DAMONPOLICY_UPDATE_GOLDEN": "1"})


@nox.session
def changelog(session: nox.Session) -> None:
    """Move the fragments of changelog.d/ into CHANGELOG.md: `nox -s changelog -- 0.2.0`."""
    session.run("python", "docs/changelog.py", *(session.posargs or ["--check"]))


@nox.session
def speed(session: nox.Session) -> None:
    """Measure short commands."""
    session.run("python", "-m", "bench.commands", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the site of HTML: it needs the dependency group `site`."""
    session.run("python", "docs/site.py")
