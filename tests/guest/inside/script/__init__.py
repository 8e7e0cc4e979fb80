"""The script that real and emulated kernels play: `SCENES`.

Nothing in it hurts a real kernel, whatever its version. Files that a kernel lacks are
written all the same: both have to say so.
"""

from __future__ import annotations

from tests.guest.inside.script import modules, results, running, staging

__all__ = ("SCENES",)

SCENES = (*staging.SCENES, *running.SCENES, *results.SCENES, *modules.SCENES)
