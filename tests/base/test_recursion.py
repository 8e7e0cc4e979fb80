import gc
import json

import pytest

from damonpolicy.base.recursion import deep


@pytest.mark.parametrize("text", ["{}", "[" * 100_000])
def test_nothing_is_collected_while_a_parser_goes_deep(text):
    try:
        with deep():
            assert not gc.isenabled()
            json.loads(text)
    except RecursionError:
        pass

    assert gc.isenabled()


def test_who_switched_it_off_keeps_it_off():
    gc.disable()
    try:
        with deep():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
