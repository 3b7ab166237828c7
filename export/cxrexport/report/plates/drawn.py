"""Every figure of a report, drawn from scores and results; what cannot be drawn says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cxrexport.evaluation.scores import Evidence, Floats
from cxrexport.report.figures.bootstrap import bootstrap_histograms
from cxrexport.report.figures.classification import (
    confusion_matrix,
    precision_recall_curves,
    roc_curves,
    score_histogram,
)
from cxrexport.report.figures.days import score_against_days
from cxrexport.report.figures.embedding import TSNE_FILMS, embedding_map, tsne_coordinates
from cxrexport.report.figures.estimates import estimates
from cxrexport.report.figures.probabilities import operating_points, reliability_curve
from cxrexport.report.figures.sex_and_age import sex_and_age
from cxrexport.report.names import judge_name, network_name, sole_member
from cxrexport.report.paper import is_the_papers_question
from cxrexport.report.plates.lines import audit_lines, blanked_lines, comparison_lines
from cxrexport.report.plates.of_films import film_plates
from cxrexport.report.plates.plate import Plate

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment
    from cxrexport.evaluation.material import Material


def draw_plates(material: Material, results: Assessment, *, seed: int = 0) -> tuple[Plate, ...]:
    """Draw every figure.

    Args:
        material: scores and films.
        results: results.
        seed: of t-SNE and of the augmentations.

    Returns:
        Plates in the order of the report.
    """
    evidence = material.evidence
    return (
        *_comparison(results),
        *_classification(evidence, results),
        _tsne(evidence, seed),
        *_days(results),
        *_errors(results),
        *_calibration(evidence, results),
        *_audit(results),
        *film_plates(material, results, seed=seed),
    )


def _comparison(results: Assessment) -> list[Plate]:
    counted = f"n = {results.comparison.films} films of {results.comparison.patients} patients"
    asked = is_the_papers_question(results.labels)
    plates = [
        Plate(
            name=f"networks-{metric}",
            part="comparison",
            title=title,
            caption="Bars: 95 % interval."
            + (" The study's values are of its own films." if asked else ""),
            figure=estimates(
                comparison_lines(results.comparison, metric, asked=asked),
                f"{title}\n{counted}",
                axis,
            ),
        )
        for metric, title, axis in (
            ("accuracy", "Accuracy by network", "accuracy, % (95 % interval)"),
            ("roc_auc", "ROC AUC by network", "ROC AUC (95 % interval)"),
        )
    ]
    row = results.comparison.row("ensemble")
    if row is not None and row.samples:
        names = {"accuracy": "accuracy", "sensitivity": "sensitivity"}
        names |= {"specificity": "specificity", "roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
        samples = {names[m]: row.samples[m] for m in names if m in row.samples}
        plates.append(
            Plate(
                name="bootstrap",
                part="comparison",
                title="Bootstrap histograms by trial",
                caption=f"Each metric of {judge_name(results.comparison)} on each resample of the "
                "patients of each trial; the line is the median.",
                figure=bootstrap_histograms(samples, results.comparison.trials),
                wide=True,
            )
        )
    return plates


def _classification(evidence: Evidence, results: Assessment) -> list[Plate]:
    pooled = evidence.pooled
    ensemble, truth = pooled.ensemble(), pooled.truth
    curves: dict[str, Floats] = {name: pooled.probability(name) for name in pooled.margins}
    if sole_member(results.comparison) is None:
        curves["ensemble"] = ensemble
    trials = [(t.test.truth, t.test.ensemble()) for t in evidence.trials if t.test.members]
    threshold = results.comparison.threshold
    counted, who = _counted(evidence), judge_name(results.comparison)
    band = (
        f" Band: lowest and highest curve of the {len(trials)} trials." if len(trials) > 1 else ""
    )
    thick = "The ensemble thick, each network thin." if "ensemble" in curves else ""
    return [
        Plate(
            "confusion-matrix", "classification", "Confusion matrix",
            f"Class predicted by {who} at {threshold:g}, share of each true class.{counted}",
            confusion_matrix(truth, ensemble > threshold, results.labels, who),
        ),
        Plate(
            "score-histogram", "classification", "Scores by ground truth",
            f"Probability by {who} in twenty bins; dashed: the threshold.{counted}",
            score_histogram(truth, ensemble, results.labels, threshold),
        ),
        Plate(
            "roc", "classification", "ROC curves",
            f"{thick}{band}{counted}",
            roc_curves(truth, curves, trials),
        ),
        Plate(
            "precision-recall", "classification", "Precision-recall curves",
            f"Dotted: what guessing gives, the share of positive films.{band}{counted}",
            precision_recall_curves(truth, curves, trials),
        ),
    ]  # fmt: skip


def _counted(evidence: Evidence) -> str:
    if evidence.folds or len(evidence.trials) == 1:
        return ""
    return (
        " All splits together: a film counts once for each split that tested it. The tables give "
        "the mean of the splits instead."
    )


def _tsne(evidence: Evidence, seed: int) -> Plate:
    embedder = network_name(evidence.trials[0].test.embedder)

    def plate(figure: Figure | None, absent: str | None) -> Plate:
        return Plate(
            "tsne",
            "classification",
            f"{embedder} embeddings (t-SNE)",
            "Near films are alike to the network; how far apart two clusters lie has no meaning. "
            "One trial: embeddings of different trials cannot be compared.",
            figure,
            absent,
        )

    trial = next((t for t in evidence.trials if t.test.embedding is not None), None)
    if trial is None:
        return plate(None, f"{embedder} was not trained, so there is no embedding")
    sides = [s for s in (trial.train, trial.test) if s is not None and s.embedding is not None]
    embedding = np.concatenate([side.embedding for side in sides if side.embedding is not None])
    if len(embedding) < TSNE_FILMS:
        return plate(None, f"{len(embedding)} films are too few for t-SNE")
    truth = np.concatenate([side.truth for side in sides])
    is_test = np.concatenate([np.full(len(side), side is trial.test) for side in sides])
    return plate(
        embedding_map(
            tsne_coordinates(embedding, seed), truth, is_test, evidence.labels, trial.name
        ),
        None,
    )


def _days(results: Assessment) -> list[Plate]:
    title = "Score against day"
    caption = "Points: films; diamonds: mean of all films of a day and class."

    def plate(name: str, figure: Figure | None, absent: str | None = None) -> Plate:
        return Plate(name, "classification", title, caption, figure, absent)

    if results.subgroups is None or not results.subgroups.days:
        return [plate("days", None, "no test film has a day (column offset_days)")]
    plates = []
    for place, series in enumerate(results.subgroups.days, start=1):
        points, daily = series.points, series.daily
        name = "days" if len(results.subgroups.days) == 1 else f"days-{place}"
        if len(points) < 2:
            plates.append(plate(name, None, f"one film alone has {series.meaning or 'a day'}"))
            continue
        figure = score_against_days(
            np.array([point.day for point in points]),
            np.array([point.probability for point in points]),
            np.array([point.positive for point in points]),
            (
                np.array([float(day.day) for day in daily]),
                np.array([day.mean for day in daily]),
                np.array([day.positive for day in daily]),
            ),
            results.labels,
            series.meaning,
        )
        plates.append(plate(name, figure))
    return plates


def _errors(results: Assessment) -> list[Plate]:
    groups = results.subgroups
    sexes = [] if groups is None else [row for row in groups.errors if row.column == "sex"]
    ages = groups is not None and (groups.ages_right or groups.ages_wrong)
    known = any(row.value for row in sexes) or ages
    figure = (
        sex_and_age(
            [(row.value, row.right, row.wrong) for row in sexes],
            groups.ages_right,
            groups.ages_wrong,
        )
        if groups is not None and known
        else None
    )
    return [
        Plate(
            "sex-and-age",
            "subgroups",
            "Sex and age of right and wrong films",
            "Left: share of films judged wrong, with n of N. Right: films by age.",
            figure,
            None if known else "no film has a sex or an age (columns sex, age)",
            wide=True,
        )
    ]


def _calibration(evidence: Evidence, results: Assessment) -> list[Plate]:
    found = results.calibration
    network = None
    if found is not None:
        network = next((each for each in found.networks if each.name == "ensemble"), None)
    if found is None or network is None:
        why = (found and found.reason) or results.absent.get(
            "calibration", "there is no calibration"
        )
        return [Plate("reliability", "calibration", "Reliability curve", "", None, why)]
    curves = {
        f"{name} (Brier {each.brier.value:.3f}, error {each.ece:.3f})": (
            each.edges, each.counts, each.predicted, each.observed,
        )
        for name, each in (("before", network.before), ("after", network.after))
    }  # fmt: skip
    plates = [
        Plate(
            "reliability",
            "calibration",
            "Reliability curve",
            "On the dotted line a probability is what it says. Before and after temperature "
            "scaling; below, the films of each bin.",
            reliability_curve(curves, results.labels[1]),
        )
    ]
    calibrated = [
        (trial.test.truth, trial.test.ensemble(each.calibration.in_ensemble))
        for trial, each in zip(evidence.trials, found.trials, strict=True)
        if each.calibration is not None
    ]
    if calibrated and found.points:
        thresholds = {
            name: float(np.median([p.point.threshold for t in found.trials for p in t.points
                                   if p.point.name == name]))
            for name in found.points
        }  # fmt: skip
        over = f"; thresholds: median of {len(calibrated)} trials" if len(calibrated) > 1 else ""
        plates.append(
            Plate(
                "operating-points",
                "calibration",
                "Operating points",
                f"Thresholds were fixed on validation films, the curves are of test films{over}.",
                operating_points(
                    np.concatenate([truth for truth, _ in calibrated]),
                    np.concatenate([score for _, score in calibrated]),
                    thresholds,
                ),
            )
        )
    return plates


def _audit(results: Assessment) -> list[Plate]:
    audit = results.audit
    if audit is None:
        why = results.absent.get("audit", "there is no audit")
        return [Plate("audit-baselines", "audit", "Trivial baselines", "", None, why)]
    axis = "ROC AUC (95 % interval)"
    whole = audit.skill.whole
    counted = f"n = {whole.n} films, {whole.positives} positive"
    return [
        Plate(
            "audit-baselines",
            "audit",
            f"Trivial baselines beside {judge_name(results.comparison)}",
            "Dashed: chance. Within source: pairs of films of the same source only.",
            estimates(audit_lines(audit), f"Trivial baselines\n{counted}", axis, reference=0.5),
        ),
        Plate(
            "audit-blanked",
            "audit",
            "Films with a part blanked out",
            "Dashed: chance. Without lungs nothing of the disease should be left.",
            estimates(blanked_lines(audit), f"Blanked films\n{counted}", axis, reference=0.5),
        ),
    ]
