from __future__ import annotations

import sys

import numpy as np
import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.observe.heatmap.colours import UNKNOWN
from damonpolicy.observe.heatmap.image import save
from tests.observe.maps import made, ramp

PIL = pytest.importorskip("PIL.Image")


def pixels(path):
    with PIL.open(path) as picture:
        picture.verify()
    with PIL.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_png_has_dark_cold_light_hot_and_an_unknown_of_its_own(tmp_path):
    hot, cold, unknown = np.full((4, 4), 100.0), np.zeros((4, 4)), np.full((4, 4), np.nan)
    save([made(np.vstack([unknown, cold, hot]))], str(tmp_path / "map.png"))

    found = pixels(tmp_path / "map.png")

    assert found.shape == (750, 1350, 3)
    # along the middle: the unknown, the cold, the hot
    unknown, cold, hot = (found[350, at : at + 100] for at in (250, 550, 850))
    assert (unknown == [int(UNKNOWN[at : at + 2], 16) for at in (1, 3, 5)]).all()
    assert cold.max() < 20
    assert hot.sum(axis=1).min() > 550
    assert (hot != 255).any()


@pytest.mark.parametrize("colours", ["heat", "flame", "grey"])
def test_hotter_is_lighter_in_every_set_of_colours(tmp_path, colours):
    save(
        [made(np.repeat([[0.0], [50.0], [100.0]], 4, axis=0))],
        str(tmp_path / "map.png"),
        colours=colours,
    )

    row = pixels(tmp_path / "map.png")[350]

    lightness = [row[at].sum() for at in (300, 600, 900)]
    assert lightness == sorted(lightness)
    assert lightness[0] < 100
    assert lightness[2] < 765, "which is the unknown"


@pytest.mark.parametrize(
    ("name", "magic"), [("map.png", b"\x89PNG"), ("map.svg", b"<?xml"), ("map.PDF", b"%PDF-")]
)
def test_files_are_what_their_names_say_and_the_same_each_time(tmp_path, name, magic):
    maps = [ramp(), made([[1, 2]], sorted="hottest last", unit="", shows="temperature")]
    path = tmp_path / name

    save(maps, str(path), absolute=True)
    first = path.read_bytes()
    save(maps, str(path), absolute=True)

    assert first.startswith(magic)
    assert path.read_bytes() == first


def test_what_is_not_known_is_said_and_names_are_no_formulas(tmp_path):
    save([made([[None]], name="vm $\\frac{")], str(tmp_path / "map.svg"))

    assert (tmp_path / "map.svg").stat().st_size > 1000


def test_without_matplotlib_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(UsageError) as raised:
        save([ramp()], str(tmp_path / "map.png"))
    assert "damonpolicy[images]" in raised.value.hint
