"""Streamed JSON equals the result of `json`, and costs only the requested values."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from damonpolicy.observe.records.json_stream import JsonStream

chance = random.Random(3)
TEXTS = ["", "a", 'é"\\', "{[", "]}", "\\\\", "\u2028", "x" * 40, ",", ":"]


def anything(depth=0):
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 2:
        return chance.choice([0, 1, -5, 1.5, 10**18])
    if kind < 4:
        return chance.choice(TEXTS)
    if kind < 6:
        return chance.choice([None, True, False])
    if kind < 8:
        return [anything(depth + 1) for _ in range(chance.randrange(9))]
    return {chance.choice(TEXTS) + str(each): anything(depth + 1) for each in range(4)}


def pieces(text, size):
    data = text.encode()
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def walked(stream):
    kind = stream.peek()
    if kind == "{":
        return {key: walked(stream) for key in stream.names()}
    if kind != "[":
        return stream.value()
    found = []
    for batch in stream.batches():
        found += [walked(stream)] if batch is None else batch
    return found


@pytest.mark.parametrize("window", [300, 1 << 20])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_what_is_walked_is_what_json_makes_of_it(window, size):
    for _ in range(150):
        value = [anything() for _ in range(3)]
        text = json.dumps(
            value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1])
        )
        stream = JsonStream(pieces(text, size), window)
        assert walked(stream) == value
        stream.end()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_what_is_stepped_over_leaves_what_follows(size):
    for _ in range(150):
        text = json.dumps({"skipped": anything(), "kept": 7}, ensure_ascii=False)
        stream = JsonStream(pieces(text, size))
        found = [
            (key, stream.skip() if key == "skipped" else stream.value()) for key in stream.names()
        ]
        stream.end()
        assert found == [("skipped", None), ("kept", 7)]


def test_what_nobody_asks_for_is_never_made():
    def endless():
        yield b'{"unknown": ['
        for _ in range(100):
            yield b"{}," * 20_000
        yield b'{}], "kept": 1}'

    tracemalloc.start()
    try:
        stream = JsonStream(endless())
        found = [stream.skip() if key == "unknown" else stream.value() for key in stream.names()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [None, 1]
    assert peak < 8 << 20  # all of them would be 128 MB


def test_a_value_beyond_the_window_is_refused():
    with pytest.raises(ValueError, match="longer than 300 characters"):
        JsonStream(pieces(json.dumps(["x"] * 400), 64), 300).value()
    with pytest.raises(ValueError, match="longer than 10 characters"):
        JsonStream(pieces(json.dumps("x" * 20), 64), 10).value()
