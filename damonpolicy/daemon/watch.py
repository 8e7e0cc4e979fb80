"""Hints that policy files have changed, from inotify through watchdog.

They are only hints: the service's own slow look finds lost changes (too many events, a directory
that was made again, a network file system).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

__all__ = ("Watch",)

_TOLD: list[type[FileSystemEvent]] = [
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent,
    FileDeletedEvent, FileModifiedEvent, FileMovedEvent,
]  # fmt: skip
"""The events to watch: not reads of files, which the service makes itself."""


class _Hint(FileSystemEventHandler):
    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        # of a directory that changed the event of what is in it has told already
        if not (event.is_directory and event.event_type == "modified"):
            self._changed()


class Watch:
    """A watcher that calls ``changed``, from its own thread, on events near some paths."""

    def __init__(self, paths: Sequence[str], changed: Callable[[], None]) -> None:
        self._paths = tuple(paths)
        self._handler = _Hint(changed)
        self._observer: BaseObserver = Observer()
        self._watched: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}

    def start(self) -> None:
        """Begin; `rearm` follows directories that come and go."""
        self._observer.start()
        self.rearm()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._observer.stop()
        self._observer.join()

    def rearm(self) -> None:
        """Watch the current directories: one that was made again is a new one."""
        there = {}
        for path in self._directories():
            try:
                status = os.stat(path)
            except OSError:
                continue
            there[path] = (status.st_dev, status.st_ino)
        for path, (watch, identity) in list(self._watched.items()):
            if there.get(path) != identity:
                self._observer.unschedule(watch)
                del self._watched[path]
        for path, identity in there.items():
            if path not in self._watched:
                try:
                    watch = self._observer.schedule(self._handler, path, event_filter=_TOLD)
                except OSError:  # it is gone again, or no watches are left
                    continue
                self._watched[path] = (watch, identity)

    def _directories(self) -> list[str]:
        """Return the directories to watch: the given ones, and those of links' targets."""
        found: list[str] = []
        for path in self._paths:
            inside = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
            found += [inside, os.path.dirname(os.path.abspath(path))]
            try:
                names = os.listdir(inside)
            except OSError:  # missing
                names = []
            links = [os.path.join(inside, name) for name in names]
            found += [os.path.dirname(os.path.realpath(each)) for each in links
                      if os.path.islink(each)]  # fmt: skip
        return [os.path.realpath(each) for each in dict.fromkeys(found)]
