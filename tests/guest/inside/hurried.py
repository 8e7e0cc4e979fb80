"""`damonpolicy` whose service looks every 2 s, not every 30 s, so that tests are short."""

from __future__ import annotations

from unittest import mock

from damonpolicy.cli.main import main
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.scheduler import Service

_SECONDS = 2.0
_run = Service.run


def _hurry(service: Service, *more: object) -> None:
    for job in service.jobs:
        if isinstance(job, ObserveJob):
            job.every = job.repairer.again = _SECONDS
    _run(service, *more)  # type: ignore[arg-type]


if __name__ == "__main__":
    with mock.patch.object(Service, "run", _hurry):
        main()
