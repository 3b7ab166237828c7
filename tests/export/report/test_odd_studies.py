"""The report of studies that lack a part, or have one that others do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrexport.evaluation.scores import COMPARISON, Evidence, Scores, Trial
from cxrexport.evaluation.transfer import transfers
from cxrexport.manifest import FilmRow
from cxrexport.report.chapters import chapters_of
from cxrexport.report.chapters.numbers import number, percent
from cxrexport.report.page import page_html, write_report
from made_up_report import LABELS, Page, evidence_of, study_of


def write_page(results):
    return page_html(results, chapters_of(results, ()))


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


def test_parts_that_are_missing_say_why(study, tmp_path):
    parts = ("audit", "verdict", "retrieval", "subgroups", "calibration", "lungs")
    absent = {part: f"reason of {part}" for part in parts}
    bare = replace(study, absent=absent, **dict.fromkeys(parts))
    text = Page(write_report(tmp_path, bare, ()).read_text(encoding="utf-8")).text
    for part in parts:
        assert f"Not part of this report: reason of {part}." in text


def test_one_network_has_no_row_as_an_ensemble_and_no_vote(study, films):
    page = Page(write_page(study_of(evidence_of(films, networks=("vgg16",)))))
    assert page.row("VGG16", columns=6)
    assert "Scores of VGG16" in page.text
    first = [row[0].strip() for row in page.rows if row]
    assert not [name for name in first if name.startswith(("Ensemble", "The ensemble", "Majority"))]
    assert not [name for name in first if "minus VGG16" in name]
