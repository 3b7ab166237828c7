"""A study of made-up scores for the report, and how the written page is read."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from cxrexport.evaluation.assess import Assessment
from cxrexport.evaluation.audit.baselines import trivial_baselines
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.verdict import conclude
from cxrexport.evaluation.blanking import INTERVENTIONS
from cxrexport.evaluation.calibration.judged import calibrate
from cxrexport.evaluation.collection import collection_of
from cxrexport.evaluation.comparison import compare
from cxrexport.evaluation.lungs import FilmLungs, lung_figures
from cxrexport.evaluation.retrieval.judged import retrieve
from cxrexport.evaluation.scores import COMPARISON, Evidence, Scores, Trial
from cxrexport.evaluation.subgroups.judged import judge_subgroups

LABELS = ("normal", "covid & <b>more</b>")
DRAWN = {"bootstrap": 8, "seed": 0}


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
