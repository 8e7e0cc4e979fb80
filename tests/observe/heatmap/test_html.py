"""The page in a real browser: tests look at what it does, not at its text."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.observe.heatmap.colours import OF_SCREENS, UNKNOWN
from damonpolicy.observe.heatmap.html import page
from tests.observe.browser import Browser, chromium
from tests.observe.maps import BASE, MIB, made, ramp

pytest.importorskip("plotly")

PLOT = "(r => [r.left, r.top, r.width, r.height])(document.querySelector('#map .nsewdrag').getBoundingClientRect())"
MAP = ramp(10, 8)
NAMES = ["vm </script><b>one", "vm two"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    two = made([[1, None], [3, 4]], name=NAMES[1], sorted="hottest last", base=0)
    one = made(MAP.values, name=NAMES[0])
    (folder / "map.html").write_text(page([one, two]), "utf-8")
    with Browser(chromium(), folder) as opened:
        opened.url = (folder / "map.html").as_uri()
        yield opened


@pytest.fixture
def shown(browser):
    browser.requests.clear()
    browser.open(browser.url)
    yield browser
    assert browser.errors == []


def plot(shown):
    """Return a function from shares of the map (right, up) to a place on the screen."""
    left, top, width, height = shown.evaluate(PLOT)
    return lambda right, up: (left + right * width, top + (1 - up) * height)


def mode(shown, name):
    shown.evaluate(f"Plotly.relayout(place, {{dragmode: '{name}'}}).then(() => 0)")


def settled(shown):
    shown.wait("!marking")


def ranges(shown):
    return shown.evaluate(
        "[place._fullLayout.xaxis.range, place._fullLayout.yaxis.range].map((each) => [...each])"
    )


def test_nothing_is_fetched_and_nothing_fails(shown):
    mode(shown, "zoom")

    assert [each for each in shown.requests if not each.startswith("data:")] == [shown.url]


def test_the_picture_has_the_pixels_of_the_map(shown):
    rows = shown.evaluate("current().z.map((row) => [...row].map((v) => isNaN(v) ? null : v))")

    expected = np.where(np.isnan(MAP.values), None, MAP.values).T.tolist()
    assert rows == expected
    # and it was painted: the hot corner is light, the cold one dark, the unknown pale blue
    image = shown.evaluate("place.querySelector('.heatmaplayer image').getAttribute('href')")
    assert image.startswith("data:image/png")


def test_a_page_opens_on_the_hottest_map_and_names_the_unknown(tmp_path):
    cold, hot, none = made([[1, None]]), made([[9, 9]]), made([[None, None]])

    def opened(maps):
        return json.loads(re.search(r'id="data">(.*?)</script>', page(maps), re.DOTALL)[1])

    assert opened([cold, hot, none])["opens"] == 1
    assert opened([none])["opens"] == 0
    assert opened([none])["unknown"] == UNKNOWN
    assert UNKNOWN not in {each for name in OF_SCREENS for each in OF_SCREENS[name]}


def test_colours_are_seen(shown, tmp_path):
    PIL = pytest.importorskip("PIL.Image")
    at = plot(shown)
    shown.mouse("mouseMoved", 5, 5)
    (tmp_path / "page.png").write_bytes(shown.screenshot())

    with PIL.open(tmp_path / "page.png") as picture:
        unknown, cold, hot = (
            sum(picture.convert("RGB").getpixel(tuple(map(int, at(*share)))))
            for share in ((0.1, 0.1), (0.05, 0.35), (0.95, 0.95))
        )
    assert unknown == sum(int(UNKNOWN[at : at + 2], 16) for at in (1, 3, 5))
    assert cold < 250 < hot < 765


def test_names_are_text_and_not_markup(shown):
    assert shown.evaluate("[...which.options].map((each) => each.text.split(':')[0])") == NAMES
    assert shown.evaluate("document.querySelectorAll('b').length") == 0


def test_hovering_tells_time_addresses_and_accesses(shown):
    at = plot(shown)

    # the pixel of the sixth second and the seventh MiB: 5 + 6
    shown.mouse("mouseMoved", *at(0.5, 0.5))
    shown.mouse("mouseMoved", *at(0.55, 0.81))
    shown.wait("hover.style.display === 'block' && hover.textContent.includes('11 acc')")

    lines = shown.evaluate("hover.textContent").splitlines()
    assert lines[0].startswith("5s to 6s (14:13:25")
    assert lines[1] == f"{BASE + 6 * MIB:#x}-{BASE + 7 * MIB:#x} (+6MiB)"
    assert lines[2] == "11 accesses/s"


def test_hovering_over_the_unknown_says_so(shown):
    at = plot(shown)

    shown.mouse("mouseMoved", *at(0.5, 0.5))
    shown.mouse("mouseMoved", *at(0.12, 0.1))

    shown.wait("hover.textContent.endsWith('unknown')")


def test_dragging_zooms_and_a_double_click_goes_back(shown):
    at = plot(shown)

    shown.drag(at(0.2, 0.25), at(0.6, 0.75))
    shown.wait("place._fullLayout.xaxis.range[0] > 1")
    settled(shown)

    (left, right), (low, high) = ranges(shown)
    assert (left, right) == pytest.approx((2, 6), abs=0.1)
    assert (low / MIB, high / MIB) == pytest.approx((2, 6), abs=0.1)
    # marks follow: those of seconds became those of half seconds
    assert "3.5s" in shown.evaluate("place._fullLayout.xaxis.ticktext")
    shown.evaluate(
        "Plotly.relayout(place, {'xaxis.range': [4, 4.01], 'yaxis.range': [0, 65536]}).then(() => 0)"
    )
    shown.wait("place._fullLayout.xaxis.ticktext.includes('4002ms')")
    settled(shown)
    assert "16KiB" in shown.evaluate("place._fullLayout.yaxis.ticktext")

    # of two clicks that a busy machine brings late, the page would make two single ones
    shown.evaluate("place._context.doubleClickDelay = 600_000, place._mouseDownTime = 0")
    for _ in range(2):
        shown.drag(at(0.5, 0.5), at(0.5, 0.5))

    shown.wait("place._fullLayout.xaxis.range[1] === 10")
    settled(shown)
    assert ranges(shown) == [[0, 10], [0, 8 * MIB]]


def test_panning_moves(shown):
    at = plot(shown)
    mode(shown, "pan")

    shown.drag(at(0.5, 0.5), at(0.3, 0.5))

    shown.wait("place._fullLayout.xaxis.range[0] > 1")
    settled(shown)
    assert ranges(shown)[0] == pytest.approx([2, 12], abs=0.1)


def test_a_selection_tells_its_heat_and_how_to_ask_for_it(shown):
    at = plot(shown)
    mode(shown, "select")

    shown.drag(at(0.41, 0.26), at(0.59, 0.49))
    shown.wait("selected.querySelector('code')")

    # seconds 4 and 5, MiB 2 and 3: 6, 7, 7, 8
    text = shown.evaluate("selected.textContent")
    assert "mean 7, most 8 accesses/s" in text
    options = shown.evaluate("selected.querySelector('code').textContent")
    matched = re.fullmatch(r"--time ([\d.]+)s-([\d.]+)s --range (0x\w+)-(0x\w+)", options)
    assert [float(matched[1]), float(matched[2])] == pytest.approx([4, 6], abs=0.2)
    start, end = int(matched[3], 16), int(matched[4], 16)
    assert [(start - BASE) / MIB, (end - BASE) / MIB] == pytest.approx([2, 4], abs=0.2)
    assert start % 4096 == end % 4096 == 0


def test_maps_colours_and_axes_are_chosen(shown):
    def scale():
        return shown.evaluate("place._fullData[0].colorscale.at(-1)[1]")

    assert scale() == OF_SCREENS["heat"][-1]
    shown.evaluate("(colours.value = 'grey', colours.onchange().then(() => 0))")
    assert scale() == OF_SCREENS["grey"][-1]
    shown.evaluate("(absolute.checked = true, absolute.onchange().then(() => 0))")
    assert shown.evaluate("place._fullLayout.xaxis.ticktext[0]") == "14:13:20"
    assert shown.evaluate("place._fullLayout.yaxis.ticktext[0]") == f"{BASE:#x}"

    shown.evaluate("(which.selectedIndex = 1, which.onchange().then(() => 0))")

    assert shown.evaluate("current().z.map((row) => [...row].map(String))") == [
        ["1", "3"],
        ["NaN", "4"],
    ]
    assert "by temperature" in shown.evaluate("place._fullLayout.yaxis.title.text")


def test_the_page_has_no_address_of_elsewhere_to_load_from():
    text = page([MAP])

    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", text)
    assert "https://cdn." not in text
    assert "default-src 'none'" in text


def test_without_plotly_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)

    with pytest.raises(UsageError) as raised:
        page([MAP])
    assert "damonpolicy[html]" in raised.value.hint
