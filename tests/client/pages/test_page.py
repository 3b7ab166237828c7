"""The page: stands alone, escapes everything, and can be read without seeing it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cxrclient.errors import FilmError, UsageError
from cxrclient.films.film import Film
from cxrclient.pages.page import PageFilm, page_html
from cxrclient.wire.admission import Admission, AdmissionCode
from cxrclient.wire.prediction import ModelInfo, OperatingPoint


class Page(HTMLParser):
    """Elements as they come, and whether they nest."""

    VOID = frozenset({"meta", "img", "rect", "br", "hr", "wbr", "input"})

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
            self.text = " ".join(f"{self.text} {data}".split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(text: str) -> None:
    for attributes in Page(text).all("img"):
        assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
    without_pictures = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(|\son\w+=", without_pictures)


def test_the_content_policy_allows_this_style_its_pictures_and_nothing_else(text: str) -> None:
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = (a for a in Page(text).all("meta") if "http-equiv" in a)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert " ".join((policy["content"] or "").split()) == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def test_research_use_and_the_servers_notice_stand_once_before_the_first_number(
    page: Page, text: str, model
) -> None:
    said = f"Research use only; not a medical device. {model.notice}"
    assert page.text.count(said) == 1
    assert page.text.index(said) < page.text.index("0.812")
    # Printed pages get separated: the sentence is in the margin of each.
    (print_style,) = re.findall(r"@page \{.*?\}.*?\}", text, re.DOTALL)
    assert 'content: "Research use only; not a medical device."' in print_style


def test_a_page_of_one_film_needs_no_overview(predicted, model) -> None:
    page = Page(page_html([PageFilm(predicted())], model))
    assert page.text.count(model.notice) == 1
    assert page.all("nav") == []


def test_what_the_numbers_mean_is_said_once_however_many_films_there_are(
    predicted, near, model
) -> None:
    codes = (AdmissionCode("WRITTEN_ON", False, "There is writing on it."),)
    films = [
        PageFilm(
            predicted(path=f"{n}.dcm", flags=("WRITTEN_ON",), warnings=("WRITTEN_ON",)), [near()]
        )
        for n in range(3)
    ]
    page = Page(page_html(films, replace(model, admission=Admission(codes)), note="Drawn films."))
    for sentence in (
        "it is no probability of disease",
        "Above 0.5 the class is covid",
        "scaled to its own highest",
        "alike to the model",
        "Drawn films.",
        "Mind before the result of 3 films: There is writing on it. WRITTEN_ ON",
        "All of them: written on.",
    ):
        assert page.text.count(sentence) == 1, sentence
    assert page.text.count("Mind") == 1
    assert [a.get("href") for a in page.all("a")].count("#mind-WRITTEN_ON") == 3
    assert [p.get("id") for p in page.all("p")].count("mind-WRITTEN_ON") == 1


def test_what_two_models_remark_of_a_film_is_marked_once(predicted, model) -> None:
    seen = predicted(warnings=("BURNED_IN",))
    text = page_html([PageFilm(seen, model=model, also=[PageFilm(seen, model=model)])], model)
    assert text.count('href="#mind-BURNED_IN"') == text.count('id="mind-BURNED_IN"') == 1


def test_films_of_one_fate_stand_apart_under_one_sentence(predicted, model) -> None:
    def lost(number: int, why: str) -> FilmError:
        return FilmError("NOT_A_FILM", why, status="rejected", path=f"{number}.dcm")

    films = [lost(1, "It is a lateral view."), PageFilm(predicted()), lost(3, "It is empty.")]
    films += [lost(4, "It is a lateral view."), PageFilm(predicted())]
    text = page_html(films, model)
    page = Page(text)
    assert "It is a lateral view. NOT_ A_ FILM Film 1: 1.dcm Film 4: 4.dcm" in page.text
    assert page.text.count("Turned away") == 1
    overview = text[text.index("<nav") : text.index("</nav>")]
    assert len(re.findall("<tr", overview)) == 1 + 2
    assert "4.dcm" not in overview


def test_the_overview_can_be_sorted_without_a_script(predicted, model) -> None:
    scores = {"b.dcm": 0.25, "C.dcm": 0.75, "a.dcm": 0.5}
    films = [PageFilm(predicted(path=name, probability=score)) for name, score in scores.items()]
    style = page_html(films, model)
    placed = {
        choice: [
            int(child)
            for _, child in sorted(
                (int(place), child)
                for child, place in re.findall(
                    rf"#order-{choice}:checked\) tbody tr:nth-child\((\d)\)\{{order:(\d)\}}", style
                )
            )
        ]
        for choice in (1, 2)
    }
    assert placed == {1: [2, 3, 1], 2: [3, 1, 2]}


def test_one_film_of_two_models_is_one_article_and_its_picture_stands_once(
    predicted, near, model
) -> None:
    other = replace(model, model=ModelInfo("tb", "e" * 64), labels=("normal", "tb"))
    first = PageFilm(
        predicted(label="tb", probability=0.25),
        model=other,
        also=[PageFilm(predicted(), [near()], model=model)],
    )
    page = Page(page_html([first], model))
    assert len(page.all("article")) == 1
    assert "Film 1: one.dcm Model's class" not in page.text, "the picture comes first"
    assert "Model's class by tb: tb score for tb: 0.250" in page.text
    assert "Model's class by starter: covid score for covid: 0.812" in page.text
    assert page.text.count("Research use only; not a medical device.") == 1
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert sum((alt or "").endswith("chest film") for alt in alts) == 1
    assert sum("under its heatmap" in (alt or "") for alt in alts) == 2
    assert len(alts) == len(set(alts))


def test_long_numbers_are_folded(text: str) -> None:
    seen = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    for uid in ("1.2.840.1<", "1.2.840.7<", "1.2.840.2<", "1.2.840.77<"):
        assert uid in text
        assert uid not in seen


@pytest.mark.parametrize(
    "fact",
    [
        "Film 1: one.dcm",
        "Model's class: covid score for covid: 0.812",
        "resnet34 0.750",
        "vgg16 0.875",
        "2 of 2 above 0.5",
        "outlined: 31% of the film's area",
        "noted polarity turned view PA sex F age in years 61.5 UIDs Study UID 1.2.840.7 SOP",
        "This film: covid class given by the model score for covid 0.812 view PA sex F",
        "SOP Instance UID 1.2.840.1",
        "Drawn films show the mechanism.",
        "Nearest 1: non-covid label from the archive's metadata distance 1.25 score for covid 0.12",
        "label predicted by the model, not known distance 2.50",
        "days since admission 3 view AP age in years 54 treatment oxygen",
        "ids patient (keyed hash) abababab Study UID 1.2.840.77 film id 1.2.840.2",
        "score for covid of 2 films on average 0.125 , standard deviation 0.000, 0 of 2 above the "
        "threshold; this film's own: 0.812. Labels: 2 non-covid (1 of 2 known).",
        "No picture: the archive keeps none",
        "The archive is locked.",
        "4 films: 2 with a result, 1 turned away, 1 failed",
        "Film 1: one.dcm covid 0.812 31% Film 3: three.dcm covid 0.812 31%",
        "Films without a result Turned away two.dcm has none. NO_ PIXELS Film 2: two.dcm Failed "
        "Later. SERVER_ BUSY Sending it again may help. Film 4: 4.dcm",
        "digest " + "d" * 64,
        "digest " + "p" * 64,
    ],
)
def test_it_says(page: Page, fact: str) -> None:
    assert fact in page.text


def test_an_uncalibrated_score_is_nowhere_called_a_probability_of_disease(page: Page) -> None:
    words = re.findall(r"[^.:;]*probabilit[^.:;]*", page.text)
    assert words == [" it is no probability of disease"]


def test_a_calibrated_one_is_an_estimate_that_holds_for_films_like_those(predicted, model) -> None:
    page = Page(page_html([PageFilm(predicted())], replace(model, calibrated=True)))
    assert "estimated probability of covid: 0.812" in page.text
    assert "holds for films like those, with as much disease among them, and for no others" in (
        page.text
    )


def test_the_operating_point_in_force_stands_with_its_threshold_and_what_to_mind(
    predicted, model
) -> None:
    point = OperatingPoint("sensitivity 95 %", 0.21875, "sensitivity", 0.95, "one film decides it")
    tuned = replace(model, threshold=0.21875, operating_points=(point,), operating_point=point)
    page = Page(page_html([PageFilm(predicted())], tuned))
    assert "Above 0.2188 the class is covid: operating point “sensitivity 95 %”" in page.text
    assert "Mind: one film decides it." in page.text


def test_without_one_the_page_says_that_the_threshold_was_not_chosen(page: Page) -> None:
    assert "Above 0.5 the class is covid: a plain threshold, not chosen" in page.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4999, "0.500"),  # not above it
        (0.50001, "0.50001"),
        (0.49, "0.490"),
        (0.5, "0.500"),
        (0.0, "< 0.001"),
        (0.99996, "> 0.999"),
    ],
)
def test_a_shown_number_is_on_its_side_of_the_threshold_and_never_certain(value, text) -> None:
    from cxrclient.pages.words import shown

    assert shown(value, 0.5) == text


def test_warnings_come_before_the_result_with_the_servers_sentence(predicted, model) -> None:
    codes = (
        AdmissionCode("UNLIKE", True, "The film is unlike the others."),
        AdmissionCode("WRITTEN_ON", False, "There is writing on it."),
    )
    both = tuple(each.code for each in codes)
    film = PageFilm(predicted(flags=both, warnings=both))
    page = Page(page_html([film], replace(model, admission=Admission(codes))))
    refused = page.text.index(
        "Doubtful: with the gate this film is turned away. The film is unlike the others."
    )
    warned = page.text.index(
        "Mind before the result of one film: There is writing on it. WRITTEN_ ON"
    )
    noted = page.text.index("written on")
    assert warned < noted < refused < page.text.index("Model's class")
    assert "noted" not in page.text


def test_names_can_be_left_out_also_from_sentences_and_folders_are_never_in(predicted, model):
    sentence = "/data/Doe_Jane/1.dcm is not there."
    lost = FilmError("FILE_UNREADABLE", sentence, status="failed", path="/data/Doe_Jane/1.dcm")
    films = [PageFilm(predicted(path="/data/Doe_Jane/2.dcm")), lost]
    named, unnamed = (page_html(films, model, names=names) for names in (True, False))
    assert "Doe_Jane" not in named + unnamed
    assert "1.dcm is not there." in named
    assert "the file is not there." in unnamed
    assert ".dcm" not in unnamed
    assert "Film 2" in unnamed


def test_every_picture_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert len(alts) == len(set(alts)) == 3 + 2 + 3 + 2, "two films, a neighbour, two thumbnails"
    assert all(alts)
    for attributes in [a for _, a in page.elements if a.get("role") == "img"]:
        assert attributes["aria-label"]


def test_the_heatmap_is_told_in_words(page: Page) -> None:
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert "Film 1 under its heatmap, hottest in the upper right of the picture" in alts


def test_the_heats_share_in_the_lungs_is_told(predicted, model) -> None:
    lungs = np.zeros((64, 64), np.float32)
    lungs[:, :16] = 1.0
    film = PageFilm(predicted(lungs=lungs, heatmap=np.full((2, 2), 0.5, np.float32)))
    assert "Heatmap towards covid, 25% of it in the lungs" in Page(page_html([film], model)).text


def test_an_empty_heatmap_is_called_empty(predicted, model) -> None:
    film = PageFilm(predicted(heatmap=np.zeros((2, 2), np.float32)))
    text = Page(page_html([film], model)).text
    assert "Heatmap towards covid, it is empty" in text


def test_headings_go_down_one_step_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_reference_by_id_leads_somewhere(page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    targets |= {(a["href"] or "").removeprefix("#") for a in page.all("a")} - {"top"}
    assert targets <= set(ids)


HOSTILE = "\"'><script>alert(1)</script>&amp;"
COLUMNS = ("study_uid", "offset_meaning", "view", "sex", "age", "source", HOSTILE)


def test_whatever_films_archive_and_server_say_is_text_and_nothing_else(
    predicted, near, model
) -> None:
    hostile_model = replace(
        model,
        notice=HOSTILE,
        labels=(HOSTILE, HOSTILE),
        model=ModelInfo(HOSTILE, HOSTILE),
        members=(HOSTILE,),
        preprocessing_digest=HOSTILE,
        operating_point=OperatingPoint(HOSTILE, 0.5, HOSTILE, None, HOSTILE),
        admission=Admission((AdmissionCode(HOSTILE, True, HOSTILE),)),
    )
    seen = predicted(
        path=f"dir/{HOSTILE}",
        film_id=HOSTILE,
        label=HOSTILE,
        flags=(HOSTILE, f"{HOSTILE}2"),
        warnings=(HOSTILE,),
        members={HOSTILE: 0.5},
        film=Film(film_id=HOSTILE, view=HOSTILE, sex=HOSTILE, study_uid=HOSTILE),
    )
    about = {**dict.fromkeys(COLUMNS, HOSTILE), "days": 3.0}
    neighbours = [near(id=HOSTILE, label=HOSTILE, patient_key=HOSTILE, metadata=about)]
    films = [
        PageFilm(seen, neighbours, {HOSTILE: HOSTILE}),
        PageFilm(seen, HOSTILE),
        FilmError(HOSTILE, HOSTILE, status="failed", path=HOSTILE),
    ]
    text = page_html(films, hostile_model, title=HOSTILE, note=HOSTILE)
    parsed = Page(text)
    assert parsed.all("script") == []
    assert "<script" not in text
    assert not any(name.startswith("on") for _, a in parsed.elements for name in a)
    assert "&amp;amp;" in text


def test_a_prediction_without_maps_is_refused_with_the_mend(predicted, model) -> None:
    with pytest.raises(UsageError, match="maps=True"):
        page_html([PageFilm(predicted(cxr=None))], model)


def test_a_page_of_two_models_says_of_each_film_who_judged_it(predicted, model) -> None:
    other = replace(
        model,
        model=ModelInfo("tb", "e" * 64),
        labels=("normal", "tb"),
        calibrated=True,
        notice="It has shown skill.",
    )
    judged = predicted(label="tb", probability=0.25, model=other.model)
    films = [PageFilm(judged, model=other), PageFilm(predicted(), model=model)]
    page = Page(page_html(films, model))
    assert "Film 1: one.dcm, judged by tb tb" in page.text
    assert "estimated probability of tb: 0.250" in page.text
    assert "Film 2: one.dcm, judged by starter covid score for covid 0.812" in page.text
    for each in (model, other):
        assert page.text.count(each.notice) == 1
        assert f"digest {each.digest}" in page.text
