"""The page in a real browser: nothing leaves it, it fits, it prints, the keyboard reaches it all.

Needs Debian's package `chromium`; Playwright drives it and brings no browser of its own here.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrclient.errors import FilmError
from cxrclient.pages.page import PageFilm, thumbnail, write_page
from cxrclient.pages.render import CONTOUR_COLOUR
from cxrclient.wire.admission import Admission, AdmissionCode
from waiting import HANG_S

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium: apt-get install chromium (the Debian package)"
)

SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)
WIDE, NARROW = (1280, 900), (320, 640)
Look = Callable[..., Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory, predicted, near, model) -> Path:
    """A page with everything that a page can have, long names and odd letters included."""
    admission = Admission((AdmissionCode("OUT_OF_DISTRIBUTION", True, "It is unlike the others."),))
    unlike = ("OUT_OF_DISTRIBUTION",)
    neighbours = [near(), near(id="2.25." + "8" * 50, label_source="predicted")]
    films = [
        PageFilm(predicted(), neighbours, {"1.2.840.2": thumbnail(predicted())}),
        PageFilm(
            predicted(flags=unlike, warnings=unlike, path="b.dcm", probability=0.875),
            "The archive is locked.",
        ),
        FilmError("NO_PIXELS", "It has none.", status="rejected", path="name" * 40 + ".dcm"),
        PageFilm(predicted(path="Thorax <größer> & mehr.dcm")),
    ]
    place = tmp_path_factory.mktemp("page") / "page.html"
    write_page(place, films, replace(model, admission=admission), note="Drawn films.")
    return place


@pytest.fixture(scope="module")
def open_page(path: Path, tmp_path_factory) -> Iterator[Look]:
    """Opens the page: `with open_page(width_and_height, media=…, colours=…) as (tab, events)`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=SWITCHES.split(),
            offline=True,
            timeout=HANG_S * 1000,
        )
        context.set_default_timeout(HANG_S * 1000)

        @contextmanager
        def opened(size: tuple[int, int] = WIDE, media: str = "screen", colours: str = "light"):
            tab = context.new_page()
            events: list[str] = []
            tab.on("console", lambda message: events.append(message.text))
            tab.on("pageerror", lambda error: events.append(str(error)))
            tab.on("request", lambda request: events.append(request.url))
            tab.set_viewport_size({"width": size[0], "height": size[1]})
            tab.emulate_media(media=media, color_scheme=colours)
            tab.goto(path.as_uri())
            yield tab, events
            tab.close()

        yield opened
        context.close()


def test_nothing_is_asked_for_but_the_file_and_nothing_is_complained_of(open_page, path) -> None:
    with open_page() as (_tab, events):
        assert events == [path.as_uri()]


def test_the_policy_lets_the_style_and_every_picture_through(open_page) -> None:
    with open_page() as (tab, _):
        sizes = tab.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
        assert len(sizes) == 3 * 3 + 2 + 3, "three films, two cards, three thumbnails"
        assert min(sizes) > 0
        assert tab.evaluate("getComputedStyle(document.querySelector('.film')).display") == "grid"


def test_the_policy_lets_no_script_run(open_page) -> None:
    with open_page() as (tab, _):
        with tab.expect_console_message(lambda said: "Content Security Policy" in said.text):
            tab.evaluate(
                "document.body.append(Object.assign(document.createElement('script'),"
                " {textContent: 'document.title = \"taken over\"'}))"
            )
        assert tab.title() == "Chest films"


@pytest.mark.parametrize("width", [320, 390, 640, 1280])
def test_it_needs_no_scrolling_sideways(open_page, width: int) -> None:
    """640 pixels are a window of 1280 at 200 %. Source: WCAG 2.2, success criterion 1.4.10."""
    with open_page((width, 900)) as (tab, _):
        assert tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_axe_finds_no_fault(open_page, size, colours: str) -> None:
    """axe-core's rules for WCAG 2.2 A and AA, and its best practices."""
    from axe_playwright_python.sync_playwright import Axe

    with open_page(size, colours=colours) as (tab, _):
        found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) > 20


def test_the_keyboard_reaches_every_control_in_reading_order_and_shows_where_it_is(
    open_page,
) -> None:
    with open_page() as (tab, _):
        # Of the orders one is reached; the arrow keys choose among them.
        links = tab.eval_on_selector_all(
            "a, summary, input:checked",
            "found => found.map(e => (e.closest('label') || e).textContent)",
        )
        reached = []
        for _link in links:
            tab.keyboard.press("Tab")
            reached.append(
                tab.evaluate("(e => (e.closest('label') || e).textContent)(document.activeElement)")
            )
            box = tab.evaluate(
                "(() => { const e = document.activeElement, b = e.getBoundingClientRect();"
                " return [b.left, b.width, getComputedStyle(e).outlineStyle]; })()"
            )
            assert box[0] >= 0
            assert box[1] > 0
            assert box[2] == "solid"
        assert reached == links
        assert links[:3] == ["Skip to the films", "as given", "Film 1: one.dcm"]


def test_choosing_an_order_moves_the_rows_and_nothing_else_runs(open_page, path) -> None:
    def shown(tab) -> list[str]:
        rows = tab.eval_on_selector_all(
            ".overview tbody tr",
            "rows => rows.map(r => [r.offsetTop, r.querySelector('a').innerText])",
        )
        return [name for _, name in sorted(rows)]

    one, two, four = "Film 1: one.dcm", "Film 2: b.dcm", "Film 4: Thorax <größer> & mehr.dcm"
    with open_page() as (tab, events):
        assert shown(tab) == [one, two, four]
        tab.get_by_label("highest score first").check()
        assert shown(tab) == [two, one, four]
        tab.get_by_label("by name").check()
        assert shown(tab) == [two, one, four]
        tab.get_by_label("as given").check()
        assert shown(tab) == [one, two, four]
        assert events == [path.as_uri()]


def test_a_uid_is_seen_when_its_line_is_opened(open_page) -> None:
    with open_page() as (tab, _):
        uid = tab.locator("#film-1 .judgement details dd")
        assert not uid.is_visible()
        tab.locator("#film-1 .judgement summary").click()
        assert uid.is_visible()
        assert uid.inner_text() == "1.2.840.1"


def test_the_skip_link_passes_over_the_overview(open_page) -> None:
    with open_page() as (tab, _):
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "films"
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.closest('article').id") == "film-1"


def test_who_listens_hears_doubts_before_the_result_and_the_result_by_a_heading(open_page) -> None:
    with open_page() as (tab, _):
        whole = tab.locator("body").aria_snapshot()
        film = tab.get_by_role("article", name="Film 2: b.dcm").aria_snapshot()
    for heard, parts in (
        (
            whole,
            ("- banner", "Research use only", 'navigation "Overview"', "- main", "contentinfo"),
        ),
        (
            film,
            (
                'heading "Film 2: b.dcm" [level=2]',
                "It is unlike the others.",
                'img "Film 2 under its heatmap, hottest in the upper right of the picture"',
                """heading "Model's class: covid" [level=3]""",
                "score for covid: 0.875",
                'row "resnet34 0.750"',
                'heading "Films of the archive nearest to film 2" [level=3]',
            ),
        ),
    ):
        # In YAML, a name with a colon stands in quotes of its own, in which a quote is doubled.
        places = [heard.replace("''", "'").find(part) for part in parts]
        assert -1 not in places, parts[places.index(-1)]
        assert places == sorted(places)
        assert "- cell\n" not in heard  # nothing that is heard as blank


def test_the_screenshot_has_the_contour_the_heat_and_its_scale(open_page) -> None:
    with open_page() as (tab, _):
        figures = tab.locator("figure img")
        film, contour, heat = (
            np.array(Image.open(io.BytesIO(figures.nth(n).screenshot())).convert("RGB")).astype(int)
            for n in range(3)
        )
        scale = np.array(
            Image.open(io.BytesIO(tab.locator(".heat").first.screenshot())).convert("RGB")
        ).astype(int)
    assert (np.ptp(film, axis=2) < 12).all()  # grey
    near_contour = np.abs(contour - CONTOUR_COLOUR).sum(axis=2) < 90
    assert 0.01 < near_contour.mean() < 0.15
    rows, columns = heat.shape[:2]
    warmth = heat[..., 0] - heat[..., 2]
    assert warmth[: rows // 4, -columns // 4 :].mean() > 30 > warmth[-rows // 4 :].mean()
    middle = scale[scale.shape[0] // 2]
    assert np.ptp(middle[2]) < 12  # no heat: the film as it is
    assert middle[-4, 0] - middle[-4, 2] > 30  # most heat: yellow


def test_in_print_films_stand_whole_below_each_other_and_no_ground_is_dark(open_page) -> None:
    with open_page(media="print", colours="dark") as (tab, _):
        grounds = tab.evaluate(
            "[...document.querySelectorAll('*')].filter(e => !e.matches('img'))"
            ".map(e => getComputedStyle(e).backgroundColor)"
        )
        ink = tab.evaluate("getComputedStyle(document.body).color")
        pdf = tab.pdf(prefer_css_page_size=True, format="A4")
    assert set(grounds) <= {"rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}
    assert sum(map(int, re.findall(r"\d+", ink))) < 3 * 80
    # The overview with the film without result, two films, one film.
    assert pages_of(pdf) == 3


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.mark.parametrize("neighbours", [0, 4])
def test_31_films_are_at_most_20_printed_pages(
    open_page, tmp_path, predicted, near, model, neighbours: int
) -> None:
    grey = np.tile(np.linspace(0, 1, 320, dtype=np.float32), (320, 1))
    seen = [predicted(path=f"film{n}.dcm", cxr=grey, lungs=grey) for n in range(31)]
    pictures = {"1.2.840.2": thumbnail(seen[0])}
    around = [near() for _ in range(neighbours)] or None
    write_page(tmp_path / "p.html", [PageFilm(each, around, pictures) for each in seen], model)
    with open_page(media="print") as (tab, _):
        tab.goto((tmp_path / "p.html").as_uri())
        pdf = tab.pdf(prefer_css_page_size=True, format="A4")
        heights = tab.eval_on_selector_all(
            "article", "films => films.map(f => getComputedStyle(f).breakInside)"
        )
    assert pages_of(pdf) <= 20
    assert set(heights) == {"avoid"}, "no film is cut in two"
