"""The report: self-contained, honest about what is missing, and silent about patients."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from cxrexport.errors import CxrExportError
from cxrexport.evaluation.assess import NOTICE, Assessment
from cxrexport.evaluation.audit.baselines import trivial_baselines
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.verdict import conclude
from cxrexport.evaluation.blanking import INTERVENTIONS
from cxrexport.evaluation.calibration.judged import calibrate
from cxrexport.evaluation.collection import collection_of
from cxrexport.evaluation.comparison import compare
from cxrexport.evaluation.lungs import FilmLungs, lung_figures
from cxrexport.evaluation.material import Material
from cxrexport.evaluation.measures.metrics import Interval
from cxrexport.evaluation.retrieval.judged import retrieve
from cxrexport.evaluation.scores import COMPARISON, Evidence, Scores, Trial
from cxrexport.evaluation.subgroups.judged import judge_subgroups
from cxrexport.evaluation.transfer import transfers
from cxrexport.manifest import FilmRow
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.report.chapters import chapters_of
from cxrexport.report.chapters.numbers import interval_cell, number, percent
from cxrexport.report.figures import confusion_matrix
from cxrexport.report.names import network_name
from cxrexport.report.page import FILMS_NOTICE, page_html, write_report
from cxrexport.report.plates import Plate
from cxrexport.report.plates.drawn import draw_plates

LABELS = ("normal", "covid & <b>more</b>")
DRAWN = {"bootstrap": 8, "seed": 0}
CHAPTERS = (
    "What the evidence supports",
    "What was studied",
    "Networks, ensemble and vote",
    "Scores of the ensemble",
    "Nearest films",
    "Subgroups",
    "Calibration and operating points",
    "Shortcut audit",
    "Lungs",
    "What failed or was not trained",
    "Methods and limitations",
)


def evidence_of(films, networks=COMPARISON):
    """Two folds of made-up scores, by patient; a third of each fold's other patients validate."""
    random = np.random.default_rng(3)

    def scores(rows):
        truth = np.array([row.label == LABELS[1] for row in rows])
        margins = {name: random.normal(4 * truth - 2, 2) for name in networks}
        embedding = random.normal(size=(len(rows), 4)) + truth[:, None]
        return Scores(
            tuple(rows),
            LABELS,
            margins,
            embedding.astype(np.float32),
            heat_in_lungs=random.random(len(rows)),
            lung_share=np.full(len(rows), 0.3),
            blanked=dict.fromkeys(INTERVENTIONS, margins),
            **({} if networks == COMPARISON else {"listed": networks}),
        )

    patients = list(dict.fromkeys(film.patient_id for film in films))

    def of(side):
        return [film for film in films if film.patient_id in side]

    trials = []
    for fold in (0, 1):
        others = patients[1 - fold :: 2]
        validation = others[::3]
        train = [patient for patient in others if patient not in validation]
        parts = scores(of(train)), scores(of(validation)), scores(of(patients[fold::2]))
        trials.append(Trial(f"fold-0{fold + 1}", *parts))
    return Evidence(LABELS, tuple(trials), folds=True)


def study_of(evidence, **parts):
    films = list(dict.fromkeys(film for trial in evidence.trials for film in trial.test.films))
    baselines = trivial_baselines(evidence, films, None, None)
    members = evidence.pooled.members
    only = members[0] if len(members) == 1 else None
    audited = audit(evidence, baselines, network=only, **DRAWN)
    whole = {
        "title": "A study",
        "labels": LABELS,
        "folds": True,
        "collection": collection_of(evidence),
        "comparison": compare(evidence, baselines=baselines, **DRAWN),
        "facts": {"recipe digest": "0123abcd"},
        "audit": audited,
        "verdict": conclude(audited),
        "retrieval": retrieve(evidence, **DRAWN),
        "subgroups": judge_subgroups(evidence, draws=4, **DRAWN),
        "calibration": calibrate(evidence, **DRAWN),
        "lungs": lung_figures([FilmLungs(7, "Hospital", "secret-1", 0.91, 2.5)], **DRAWN),
    }
    return Assessment(**{**whole, **parts})


@pytest.fixture(scope="module")
def films():
    return [
        FilmRow(
            image=Path(f"/secret/path/{i}.png"),
            patient_id=f"secret-{i // 2}",
            label=LABELS[i // 4 % 2],
            source="Hospital <i>A</i>" if i % 3 else "Hospital B",
            sex="F" if i % 5 else None,
            row=i + 2,
        )
        for i in range(72)
    ]


@pytest.fixture(scope="module")
def study(films):
    return study_of(evidence_of(films))


@pytest.fixture(scope="module")
def plates():
    truth = np.array([True, False])
    return (
        Plate("matrix", "classification", "A matrix", "C.", confusion_matrix(truth, truth, LABELS)),
        Plate("days", "classification", "Days", "C.", None, "no test film has a day"),
    )


@pytest.fixture(scope="module")
def report(study, plates, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), study, plates)


class Page(HTMLParser):
    """Tags with their attributes, the text, and each table's rows of cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.rows, self._in_cell = [], [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.words.append(data)
        if self._in_cell:
            self.rows[-1][-1] += f" {data.strip()}"

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def row(self, name, columns=None):
        return next(
            [cell.strip() for cell in row]
            for row in self.rows
            if row[0].strip().startswith(name) and columns in (None, len(row))
        )


@pytest.fixture(scope="module")
def page(report):
    return Page(report.read_text(encoding="utf-8"))


def test_the_notice_comes_first_then_the_verdict_then_the_chapters_in_their_order(page, study):
    places = [page.text.index(NOTICE), page.text.index(study.verdict.sentence)]
    places += [page.text.rindex(f"{i}. {name}") for i, name in enumerate(CHAPTERS, 1)][1:]
    assert places == sorted(places)


def test_nothing_in_it_comes_from_elsewhere(page, report):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    style = report.read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert any(tag == "img" and a["src"].startswith("data:image/svg") for tag, a in page.tags)


def test_no_patient_and_no_path_is_in_it(report):
    assert "secret" not in report.read_text(encoding="utf-8")


def test_a_report_that_shows_films_warns_of_them(study, plates, tmp_path, page):
    films = (replace(plates[0], films=True),)
    shown = Page(write_report(tmp_path, study, films).read_text(encoding="utf-8"))
    assert FILMS_NOTICE in shown.text
    assert FILMS_NOTICE not in page.text


def test_what_a_manifest_says_is_text_not_markup(page):
    assert not {tag for tag, _ in page.tags} & {"b", "i"}
    assert "covid & <b>more</b>" in page.text
    assert "Hospital <i>A</i>" in page.text


def test_our_ensemble_stands_beside_the_published_one_in_every_cell(page, study):
    figures = study.comparison.row("ensemble").pooled
    counts = figures.counts
    _, accuracy, sensitivity, _, area, _ = page.row("Ensemble (mean) of ResNet34")
    right = counts.true_positive + counts.true_negative
    assert accuracy.startswith(f"{100 * right / 72:.1f} %")
    assert f"{right} of 72" in accuracy
    assert f"{100 * figures.accuracy.low:.1f}\N{EN DASH}" in accuracy
    assert accuracy.endswith("published: 90.3 % (86.3\N{EN DASH}93.7)")
    assert f"{counts.true_positive} of 36" in sensitivity
    assert area.startswith(f"{figures.roc_auc.value:.3f}")
    assert area.endswith("published: 0.96 (0.93\N{EN DASH}0.97)")


def test_both_editions_stand_in_a_network_s_row_and_the_preprint_s_in_the_vote_s(page):
    accuracy = page.row("ResNet50 without preprocessing")[1]
    assert accuracy.endswith("published: 85.1 % preprint: 85.1 %")
    assert page.row("Majority vote")[1].endswith("preprint: 90.5 %")
    assert "no score to rank" in page.row("Majority vote")[4]


def test_retrieval_stands_beside_the_study_s_counts_and_distances(page):
    assert page.row("their predictions")[1].endswith("published: 87.1 %, 305 of 350")
    assert "published" not in page.row("their labels")[1]
    assert page.row("between the classes")[1].endswith("published: 5.8 ± 1.9")


def test_every_interval_counts_films_of_one_patient_as_alike(page, study):
    figures = study.comparison.row("resnet34").pooled
    assert figures.resampled == "patients"
    _, accuracy, *_, area, _ = page.row("ResNet34")
    ends = figures.accuracy.low, figures.accuracy.high
    assert "\N{EN DASH}".join(f"{100 * end:.1f}" for end in ends) in accuracy
    ends = figures.roc_auc.low, figures.roc_auc.high
    assert "\N{EN DASH}".join(f"{end:.3f}" for end in ends) in area
    assert "by patient" not in page.text


def test_the_study_s_sampling_has_a_row_of_its_own(page, study):
    row = page.row("The ensemble, sampled as in the study percentiles of 100 resamples of films")
    found = study.comparison.as_study.accuracy
    assert f"{100 * found.low:.1f}\N{EN DASH}{100 * found.high:.1f}" in row[1]


def test_delong_s_p_stands_beside_the_paired_bootstrap(page, study):
    (found,) = (
        each.delong
        for each in study.comparison.differences
        if (each.better, each.than, each.metric) == ("ensemble", "vgg16", "roc_auc")
    )
    assert page.row("Ensemble (mean) minus VGG16")[2].endswith(f"p = {found.p:.3f}")


def write_page(results):
    return page_html(results, chapters_of(results, ()))


@pytest.mark.parametrize(
    ("positive", "asked"),
    [("covid", True), ("COVID-19", True), ("SARS-CoV-2", True), ("tb", False)],
)
def test_the_paper_s_values_stand_only_beside_the_paper_s_question(study, positive, asked):
    text = Page(write_page(replace(study, labels=("normal", positive)))).text
    for words in ("published", "Published", "reprint", "The study", "the study"):
        assert (words in text) == asked, words


def test_one_network_has_no_row_as_an_ensemble_and_no_vote(study, films):
    page = Page(write_page(study_of(evidence_of(films, networks=("vgg16",)))))
    assert page.row("VGG16", columns=6)
    assert "Scores of VGG16" in page.text
    first = [row[0].strip() for row in page.rows if row]
    assert not [name for name in first if name.startswith(("Ensemble", "The ensemble", "Majority"))]
    assert not [name for name in first if "minus VGG16" in name]


def test_no_two_chapters_give_two_intervals_of_one_figure(study, page):
    whole = page.row("whole set", columns=6)
    _, accuracy, sensitivity, specificity, area, _ = page.row("Ensemble (mean) of ResNet34")
    assert all(
        there.split("  published")[0].strip().startswith(figure)
        for figure, there in zip(whole[2:], (accuracy, sensitivity, specificity, area), strict=True)
    )


def test_a_trivial_baseline_that_is_absent_says_why(page):
    assert "it was not asked for" in page.row("Thumbnail", columns=5)[0]


def test_a_subgroup_too_small_says_that_it_cannot_be_judged(page):
    assert "cannot be judged" in page.row("source: Hospital B")[4]
    assert "no film has a value in the column view" in page.text


def test_a_figure_that_cannot_be_drawn_says_why(page):
    assert "Days. Not drawn: no test film has a day." in page.text


def test_parts_that_are_missing_say_why(study, tmp_path):
    parts = ("audit", "verdict", "retrieval", "subgroups", "calibration", "lungs")
    absent = {part: f"reason of {part}" for part in parts}
    bare = replace(study, absent=absent, **dict.fromkeys(parts))
    text = Page(write_report(tmp_path, bare, ()).read_text(encoding="utf-8")).text
    for part in parts:
        assert f"Not part of this report: reason of {part}." in text


def test_a_source_that_was_left_out_has_its_own_chapter(study, tmp_path):
    def films(source, start, count):
        return [
            FilmRow(
                image=Path(f"/{source}/{i}.png"),
                patient_id=f"secret-{source}-{i}",
                label=LABELS[i % 2],
                source=source,
                row=i + 2,
            )
            for i in range(start, start + count)
        ]

    random = np.random.default_rng(1)

    def scores(rows):
        truth = np.array([row.label == LABELS[1] for row in rows])
        return Scores(tuple(rows), LABELS, {"vgg16": random.normal(4 * truth - 2, 2)})

    trials = [
        Trial(f"without-{here}", *(scores(films(*side)) for side in sides))
        for here, sides in (
            ("b", (("a", 0, 20), ("a", 20, 30), ("b", 0, 60))),
            ("a", (("b", 0, 20), ("b", 20, 30), ("a", 0, 30))),
        )
    ]
    found = transfers(Evidence(LABELS, tuple(trials), folds=True), draws=20, bootstrap=8)
    text = Page(
        write_report(tmp_path, replace(study, transfer=found), ()).read_text(encoding="utf-8")
    )
    assert "4. At another hospital" in text.text
    first, second = found
    assert text.row("b: specificity 90 % as it travels")[3].startswith(
        percent(first.travels[2].sensitivity.value)
    )
    mended = text.row("b: specificity 90 % mended: chosen anew on 20 films")
    assert mended[3].startswith(percent(first.mended.chosen_anew.sensitivity.value))
    assert text.row("b 50.0 % positive")[1].startswith(number(first.mended.brier_before.value))
    assert second.mended is None
    assert f"a: {second.reason}" in text.text
    assert (
        "4. At another hospital"
        not in Page(write_report(tmp_path, study, ()).read_text(encoding="utf-8")).text
    )


def test_the_lung_network_that_was_not_trained_here_is_named(study, tmp_path):
    given = replace(study, lungs_note="The lung network is that of repository x.")
    text = Page(write_report(tmp_path, given, ()).read_text(encoding="utf-8")).text
    assert "The lung network is that of repository x." in text


def test_the_best_single_network_is_marked_among_the_differences(page, study):
    (marked,) = (row[0] for row in page.rows if row and "the best single network" in row[0])
    name = network_name(study.comparison.best_single)
    assert marked.split() == f"Ensemble (mean) minus {name} the best single network".split()


def test_what_failed_is_named_with_its_reason(study, tmp_path):
    failed = replace(study, failures={"split-03, vgg16": "the loss is not finite"})
    page = Page(write_report(tmp_path, failed, ()).read_text(encoding="utf-8"))
    assert "split-03, vgg16: the loss is not finite" in page.text


def test_a_vote_that_lacks_a_network_is_not_said_to_be_left_out(films, tmp_path):
    networks = tuple(name for name in COMPARISON if name != "densenet121")
    some = study_of(evidence_of(films, networks), labels=("non-covid", "covid"))
    page = Page(write_report(tmp_path, some, ()).read_text(encoding="utf-8"))
    assert len(page.row("Majority vote")) > 1
    without = page.text.split("In the comparison, but without some networks")[1]
    left_out = page.text.split("Not in the comparison, or not in every trial")[1]
    left_out = left_out.split("In the comparison, but")[0]
    assert "densenet121 not trained" in left_out
    assert "Majority vote" not in left_out
    assert "Majority vote: densenet121 not trained" in without


@pytest.mark.parametrize(
    ("kept", "words"), [(-0.41, "\N{MINUS SIGN}41 %"), (-0.001, "0 %"), (1.2, "120 %")]
)
def test_the_share_that_is_left_is_the_same_in_words_and_in_the_table(study, tmp_path, kept, words):
    one = next(each for each in study.audit.interventions if each.name == "only_border")
    told = replace(one, kept=kept, kept_within=kept)
    audited = replace(study.audit, interventions=(told,))
    given = replace(study, audit=audited, verdict=conclude(audited))
    page = Page(write_report(tmp_path, given, ()).read_text(encoding="utf-8"))
    (row,) = (row for row in page.rows if len(row) == 7 and row[3].strip() == words)
    assert row[6].strip() == words
    assert f", {words} of what the whole film has above chance" in page.text


def test_before_and_after_fine_tuning_stand_below_each_other(study, tmp_path):
    tuned = replace(study, before=study.comparison)
    page = Page(write_report(tmp_path, tuned, ()).read_text(encoding="utf-8"))
    assert page.row("ResNet34, before")[1:] == page.row("ResNet34, after")[1:]


def test_without_training_films_it_says_that_the_networks_may_know_the_films(study, tmp_path):
    trials = tuple(replace(t, train=None, validation=None) for t in study.collection.trials)
    alone = replace(study, collection=replace(study.collection, trials=trials))
    text = Page(write_report(tmp_path, alone, ()).read_text(encoding="utf-8")).text
    assert "does not say which films the networks learnt from" in text
    assert "no patient is on two sides" not in text
    text = Page(write_report(tmp_path, study, ()).read_text(encoding="utf-8")).text
    assert "Of the films of this manifest, no patient is on two sides." in text


def test_the_same_results_give_the_same_bytes(study, plates, report, tmp_path):
    again = write_report(tmp_path, study, plates)
    assert again.read_bytes() == report.read_bytes()
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["matrix.png", "matrix.svg"]


def test_a_place_that_cannot_be_written_is_an_error_of_ours(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CxrExportError, match="--output"):
        write_report(tmp_path / "file", study, ())


def test_numbers_have_true_minus_signs_and_no_minus_zero():
    assert number(-0.026) == "\N{MINUS SIGN}0.026"
    assert number(-0.0001) == "0.000"
    assert percent(0.9034) == "90.3 %"
    cell = interval_cell(Interval(-0.002, -0.026, 0.022))
    assert (cell.text, cell.lines[0].text) == (
        "\N{MINUS SIGN}0.002", "\N{MINUS SIGN}0.026 to 0.022"
    )  # fmt: skip
    assert interval_cell(Interval(0.051, 0.01, 0.09), "points", signed=True).text == "+5.1 points"
    assert interval_cell(Interval.undefined("one class")).lines[0].text == "one class"


def test_every_figure_of_the_study_is_drawn_or_says_why(phantom_rows):
    labels = dict(zip(sorted({row.label for row in phantom_rows}), LABELS, strict=True))
    films = [
        replace(row, label=labels[row.label], patient_id=f"secret-{i}", offset_days=None)
        for i, row in enumerate(phantom_rows)
    ]
    evidence = evidence_of(films)
    maps = np.random.default_rng(0).integers(0, 255, (len(films), 1, 64, 64), dtype=np.uint8)
    material = Material(
        "A study", evidence, PreprocessingSpec(size_px=64), tuple(films), maps, (maps, maps)
    )
    plates = {plate.name: plate for plate in draw_plates(material, study_of(evidence))}
    missing = {name: plate.absent for name, plate in plates.items() if plate.figure is None}
    assert set(missing) == {"days", "augmentations"}
    assert "offset_days" in missing["days"]
    assert {
        "confusion-matrix", "roc", "precision-recall", "score-histogram", "tsne", "bootstrap",
        "nearest-films",
        "films-to-look-at", "lungs", "sex-and-age", "reliability", "operating-points",
        "audit-baselines", "audit-blanked", "networks-accuracy", "networks-roc_auc",
    } <= set(plates)  # fmt: skip
    words = " ".join(
        text.get_text()
        for plate in plates.values()
        if plate.figure is not None
        for text in plate.figure.findobj(Text)
    )
    assert "secret" not in words
    assert ".dcm" not in words
