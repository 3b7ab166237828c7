"""The report: what stands in it, in which order, and that nothing contradicts anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from cxrexport.errors import CxrExportError
from cxrexport.evaluation.assess import NOTICE
from cxrexport.evaluation.audit.verdict import conclude
from cxrexport.evaluation.material import Material
from cxrexport.evaluation.measures.metrics import Interval
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.report.chapters import chapters_of
from cxrexport.report.chapters.numbers import interval_cell, number, percent
from cxrexport.report.names import network_name
from cxrexport.report.page import FILMS_NOTICE, page_html, write_report
from cxrexport.report.plates.drawn import draw_plates
from made_up_report import LABELS, Page, evidence_of, study_of

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


def test_the_best_single_network_is_marked_among_the_differences(page, study):
    (marked,) = (row[0] for row in page.rows if row and "the best single network" in row[0])
    name = network_name(study.comparison.best_single)
    assert marked.split() == f"Ensemble (mean) minus {name} the best single network".split()


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
