"""The page: stands alone, escapes everything, and can be read without seeing it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cxrclient.errors import UsageError
from cxrclient.index import Neighbour
from cxrclient.page import PageFilm, page_html
from cxrclient.prediction import EnsembleInfo, ModelInfo, Prediction

MODEL = EnsembleInfo(
    model=ModelInfo("starter", "d" * 64),
    labels=("non-covid", "covid"),
    threshold=0.5,
    image_size_px=64,
    embedding_size=128,
    members=("resnet34", "vgg16"),
    preprocessing_digest="p" * 64,
    notice="It separates sources, not disease.",
)


def prediction(**changes: object) -> Prediction:
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float32)
    known = {
        "path": "films/one.dcm",
        "film_id": "1.2.840.1",
        "probability": 0.8125,
        "label": "covid",
        "members": {"resnet34": 0.75, "vgg16": 0.875},
        "votes": 2,
        "lung_fraction": 0.31,
        "embedding": np.zeros(128, np.float32),
        "flags": ("POLARITY_TURNED",),
        "model": MODEL.model,
        "latency_ms": 12.0,
        "cxr": columns / 63,
        "lungs": (np.hypot(rows - 32, columns - 32) < 20).astype(np.float32),
        "heatmap": np.array([[0, 1], [0, 0]], np.float32),
        "geometry": np.array([64, 64, 1, 0, 0, 0, 1, 0], np.float32),
    }
    return Prediction(**{**known, **changes})  # type: ignore[arg-type]


def neighbour(**changes: object) -> Neighbour:
    near = Neighbour(
        id="1.2.840.2",
        distance=1.25,
        label="non-covid",
        label_source="metadata",
        probability=0.125,
        patient_key="ab" * 16,
    )
    return replace(near, **changes)


class Page(HTMLParser):
    """Elements as they come, and whether they nest."""

    VOID = frozenset({"meta", "img", "rect", "br", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += " " + " ".join(data.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    film = PageFilm(
        prediction(),
        [neighbour(), neighbour(id="1.2.840.3", distance=2.5, label_source="predicted")],
        {"1.2.840.2": prediction()},
    )
    return Page(page_html([film], MODEL, note="Drawn films show the mechanism."))


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    text = page_html([PageFilm(prediction(), [neighbour()])], MODEL)
    for attributes in Page(text).all("img"):
        assert (attributes["src"] or "").startswith("data:image/png;base64,")
    without_pictures = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(|\son\w+=", without_pictures)


def test_research_use_and_the_servers_notice_stand_on_it(page: Page) -> None:
    assert "Research use only" in page.text
    assert MODEL.notice in page.text


def test_the_note_stands_with_the_neighbours(page: Page) -> None:
    assert "Drawn films show the mechanism." in page.text


@pytest.mark.parametrize(
    "fact",
    [
        "p(covid) = 0.812",
        "resnet34 0.750",
        "vgg16 0.875",
        "2 of 2 members",
        "31%",
        "POLARITY_TURNED",
        "non-covid known",
        "non-covid predicted",
        "distance 1.25",
        "distance 2.50",
        "Mean p(covid) of these 2 films: 0.125",
        "no picture",
        "d" * 64,
    ],
)
def test_it_says(page: Page, fact: str) -> None:
    assert fact in page.text


def test_every_picture_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert len(alts) == len(set(alts)) == 5
    assert all(alts)
    for attributes in [a for _, a in page.elements if a.get("role") == "img"]:
        assert attributes["aria-label"]


def test_headings_go_down_one_step_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_reference_by_id_leads_somewhere(page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)


HOSTILE = "\"'><script>alert(1)</script>&amp;"


def test_whatever_films_archive_and_server_say_is_text_and_nothing_else() -> None:
    model = replace(
        MODEL,
        notice=HOSTILE,
        labels=(HOSTILE, HOSTILE),
        model=ModelInfo(HOSTILE, HOSTILE),
        members=(HOSTILE,),
    )
    film = PageFilm(
        prediction(
            path=f"dir/{HOSTILE}",
            label=HOSTILE,
            flags=(HOSTILE,),
            members={HOSTILE: 0.5},
        ),
        [neighbour(id=HOSTILE, label=HOSTILE, patient_key=HOSTILE)],
    )
    text = page_html([film], model, title=HOSTILE, note=HOSTILE)
    parsed = Page(text)
    assert parsed.all("script") == []
    assert "<script" not in text
    assert not any(name.startswith("on") for _, a in parsed.elements for name in a)
    assert "&amp;amp;" in text


def test_the_contour_and_the_heat_are_drawn_where_they_are() -> None:
    from cxrclient._page_pictures import contour_picture, film_picture, heat_picture

    seen = prediction()
    film = np.array(film_picture(seen, 64).convert("RGB")).astype(int)
    contour = np.abs(np.array(contour_picture(seen, 64)).astype(int) - film).sum(2) > 0
    rows, columns = np.nonzero(contour)
    assert np.hypot(rows - 32, columns - 32) == pytest.approx(19, abs=1.5)
    heat = np.abs(np.array(heat_picture(seen, 64)).astype(int) - film).sum(2)
    assert heat[:16, 48:].mean() > 50 > heat[48:, :16].mean() == 0


def test_a_prediction_without_maps_is_refused_with_the_mend() -> None:
    with pytest.raises(UsageError, match="maps=True"):
        page_html([PageFilm(prediction(cxr=None))], MODEL)


def test_text_has_contrast_of_at_least_4_5_on_its_ground() -> None:
    """Source: WCAG 2.2, success criterion 1.4.3."""
    text = page_html([PageFilm(prediction())], MODEL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", text))

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for ink, ground in (
        ("ink", "ground"),
        ("ink", "warn-ground"),
        ("ink", "soft"),
        ("quiet", "ground"),
        ("quiet", "soft"),
        ("accent", "ground"),
    ):
        low, high = sorted((luminance(colours[ink]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
