"""Which films, whose, and how they were divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrexport.evaluation.collection import FilmCount
from cxrexport.report.chapters.blocks import Block, Cell, Facts, SmallLine, Table, Text
from cxrexport.report.chapters.numbers import NOTHING, head, of, percent
from cxrexport.report.paper import COHORT, is_the_papers_question

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment


def studied_blocks(results: Assessment) -> tuple[Block, ...]:
    """Films by source and by trial, the study's own cohort beside them, and what was used."""
    films = results.collection.all
    negative, positive = results.labels
    how = (
        f"{len(results.transfer)} sources, each left out once: its films were tested by networks "
        "that learnt from the others' only"
        if len(results.transfer) == len(results.collection.trials) > 1
        else f"{len(results.collection.trials)} folds of a patient-wise cross-validation: "
        f"{results.comparison.films} films were tested, each once, by networks that never saw its "
        "patient"
        if results.folds
        else f"{len(results.collection.trials)} random patient-wise splits: a film may be tested "
        "in several of them, always by networks that never saw its patient"
        if len(results.collection.trials) > 1
        else "one trained set of networks"
    )
    return (
        Text(
            f"{films.films} films of {films.patients} patients, {films.positives} of them "
            f"{positive} and {films.films - films.positives} {negative}; {positive} is the "
            f"positive class. {how[0].upper()}{how[1:]}."
        ),
        _by_source(results),
        _by_trial(results),
        Facts("What was used", tuple(results.facts.items())),
    )


def _by_source(results: Assessment) -> Table:
    negative, positive = results.labels
    groups = [*results.collection.by_source, results.collection.all]
    rows = [
        (
            head("not stated" if group.name is None else group.name),
            Cell(str(group.films)),
            Cell(str(group.patients)),
            Cell(str(group.positives), (SmallLine(_share(group)),)),
            Cell(str(group.films - group.positives)),
        )
        for group in groups
    ]
    asked = is_the_papers_question(results.labels)
    paper = (
        head("The study", f"{COHORT.hospitals} hospitals, the same machines for both classes"),
        Cell(str(COHORT.films)),
        Cell(str(COHORT.positive_patients + COHORT.negative_patients)),
        Cell(str(COHORT.positives), (SmallLine(percent(COHORT.positives / COHORT.films)),)),
        Cell(str(COHORT.negatives)),
    )
    return Table(
        "Films by source",
        ("source", "films", "patients", positive, negative),
        (*rows, *([paper] if asked else [])),
        f"The study excluded {COHORT.excluded} films (lateral, rectangular artefacts), 98 of them "
        "positive. Its classes are COVID-19 and not."
        if asked
        else "",
    )


def _by_trial(results: Assessment) -> Table:
    learnt = any(trial.train is not None for trial in results.collection.trials)
    apart = (
        "Of the films of this manifest, no patient is on two sides."
        if learnt
        else "The manifest names no training films: it cannot be said that the networks never saw "
        "these patients."
    )
    return Table(
        "Films by trial",
        ("trial", "training", "validation", "test"),
        tuple(
            (head(trial.name), _side(trial.train), _side(trial.validation), _side(trial.test))
            for trial in results.collection.trials
        ),
        f"The study's test set: {COHORT.test_films} films, {COHORT.test_positives} positive (its "
        f"Table 2 counts 351 and 180 in all rows but one). {apart}"
        if is_the_papers_question(results.labels)
        else apart,
    )


def _side(count: FilmCount | None) -> Cell:
    if count is None:
        return Cell(NOTHING, (SmallLine("not scored"),))
    return Cell(
        str(count.films),
        (
            SmallLine(f"{of(count.positives, count.films)} positive"),
            SmallLine(f"{count.patients} patients"),
        ),
    )


def _share(count: FilmCount) -> str:
    return percent(count.positives / count.films) if count.films else NOTHING
