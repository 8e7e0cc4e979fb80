"""Handlers of signals for as long as a block lasts."""

from __future__ import annotations

import signal

import pytest

from damonpolicy.base.handlers import handled


def test_a_block_has_its_handler_and_the_earlier_one_returns_whatever_happens():
    heard, before = [], signal.getsignal(signal.SIGUSR1)

    def fails():
        with handled({signal.SIGUSR1: lambda number, _: heard.append(number)}):
            signal.raise_signal(signal.SIGUSR1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert heard == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is before
