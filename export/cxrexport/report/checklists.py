"""Reporting checklists, filled in as far as this software knows the study: CLAIM and TRIPOD+AI.

Items are in our words; a journal's form has the official ones. What only the author can know says
so. Sources: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM), 2024
update, Radiology: Artificial Intelligence 2024;6:e240300; Collins et al., TRIPOD+AI, BMJ
2024;385:e078378.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxrexport.report.chapters.blocks import Cell, Chapter, Table, Text
from cxrexport.report.chapters.numbers import METRIC_NAMES, figures_of, head, interval_text, text_of
from cxrexport.report.names import judge_name

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment

AUTHOR = "The author fills in."

_CLAIM: Mapping[str, tuple[str, str]] = {
    "1": ("Title or abstract names the study as AI, and the kind of AI", "technology"),
    "2": ("Abstract: design, methods, results, conclusions", ""),
    "3": ("Background, intended use and role of the AI", ""),
    "4": ("Aims, objectives, hypotheses", ""),
    "5": ("Prospective or retrospective", ""),
    "6": ("Goal of the study", ""),
    "7": ("Sources of the data", "sources"),
    "8": ("Who was included and excluded, where and when", ""),
    "9": ("Preprocessing of the data", "preprocessing"),
    "10": ("Selection of data subsets", ""),
    "11": ("De-identification", ""),
    "12": ("Missing data", "missing"),
    "13": ("Image acquisition", ""),
    "14": ("Reference standard: how it was obtained", "labels"),
    "15": ("Reference standard: why this one", ""),
    "16": ("Reference standard: who annotated, with what training", ""),
    "17": ("Annotation of the test set", ""),
    "18": ("Variability of annotators", ""),
    "19": ("How data were assigned to partitions", "partitions"),
    "20": ("Level at which partitions are disjoint", "disjoint"),
    "21": ("Intended sample size, and how it was determined", "size"),
    "22": ("Model: detailed description", "model"),
    "23": ("Software, libraries, versions", "software"),
    "24": ("Initialisation of the model's parameters", "initial"),
    "25": ("Training: approach and hyperparameters", "training"),
    "26": ("How the final model was chosen", "chosen"),
    "27": ("Ensembling", "ensemble"),
    "28": ("Metrics of performance", "metrics"),
    "29": ("Significance and uncertainty", "uncertainty"),
    "30": ("Robustness or sensitivity analysis", "robustness"),
    "31": ("Explainability", "explained"),
    "32": ("Evaluation on internal data", "internal"),
    "33": ("Testing on external data", "external"),
    "34": ("Registration of a clinical trial", ""),
    "35": ("Numbers of patients or examinations, included and excluded", "numbers"),
    "36": ("Demographic and clinical characteristics of each partition", "characteristics"),
    "37": ("Performance, with uncertainty, on all partitions", "performance"),
    "38": ("Diagnostic accuracy and its precision", "performance"),
    "39": ("Failure analysis: films judged wrong", "failures"),
    "40": ("Limitations", "limitations"),
    "41": ("Implications for practice", ""),
    "42": ("Full protocol or additional technical details", "details"),
    "43": ("Availability of software, trained model, data", "availability"),
    "44": ("Funding and the role of the funders", ""),
}

_TRIPOD: Mapping[str, tuple[str, str]] = {
    "1": ("Title: a prediction model is developed or evaluated; population; outcome", ""),
    "2": ("Abstract", ""),
    "3a": ("Health context and rationale", ""),
    "3b": ("Target population, place in care, users", ""),
    "3c": ("Known inequalities in health", ""),
    "4": ("Objectives: development, evaluation, or both", ""),
    "5a": ("Sources of the data, and how representative they are", "sources"),
    "5b": ("Dates of the data", ""),
    "6a": ("Setting: number and place of centres", ""),
    "6b": ("Eligibility", ""),
    "6c": ("Treatments received", ""),
    "7": ("Preparation of the data, also across groups", "preprocessing"),
    "8a": ("Outcome: what is predicted, how and when assessed", "labels"),
    "8b": ("Outcome: who assessed it", ""),
    "8c": ("Outcome: blinding", ""),
    "9a": ("Predictors: how they were chosen", "predictors"),
    "9b": ("Predictors: definition and measurement", "preprocessing"),
    "9c": ("Predictors: who assessed them", ""),
    "10": ("Sample size", "size"),
    "11": ("Missing data", "missing"),
    "12a": ("How the data were used: partitions", "partitions"),
    "12b": ("How predictors were handled", "preprocessing"),
    "12c": ("Type of model, its building, hyperparameters, internal validation", "training"),
    "12d": ("Heterogeneity across clusters such as hospitals", "external"),
    "12e": ("Measures of performance, and plots", "metrics"),
    "12f": ("Updating of the model, such as recalibration", "calibration"),
    "12g": ("How predictions were calculated", "ensemble"),
    "13": ("Class imbalance", "imbalance"),
    "14": ("Fairness: what was done about it", "fairness"),
    "15": ("Output of the model, and thresholds", "output"),
    "16": ("Differences between training and evaluation data", "external"),
    "17": ("Ethical approval and consent", ""),
    "18a": ("Funding", ""),
    "18b": ("Conflicts of interest", ""),
    "18c": ("Protocol", ""),
    "18d": ("Registration", ""),
    "18e": ("Availability of the data", ""),
    "18f": ("Availability of the code", "availability"),
    "19": ("Involvement of patients and the public", ""),
    "20a": ("Flow of participants, with and without the outcome", "numbers"),
    "20b": ("Characteristics of participants", "characteristics"),
    "20c": ("Development and evaluation data compared", "numbers"),
    "21": ("Participants and outcomes in each analysis", "numbers"),
    "22": ("The full model, so that it can be used", "details"),
    "23a": ("Performance with intervals, also of key subgroups", "performance"),
    "23b": ("Heterogeneity of performance across clusters", "external"),
    "24": ("Results of updating", "calibration"),
    "25": ("Interpretation, with fairness", ""),
    "26": ("Limitations", "limitations"),
    "27a": ("Poor or missing input when the model is used", ""),
    "27b": ("Interaction and expertise that users need", ""),
    "27c": ("Next steps", ""),
}


def checklists(results: Assessment) -> tuple[Chapter, ...]:
    """CLAIM and TRIPOD+AI for this evaluation, a row an item."""
    known = _known(results)
    return tuple(
        Chapter(anchor, title, (Text(_HOW), _table(title, items, known)))
        for anchor, title, items in (
            ("claim", "CLAIM, 2024 update", _CLAIM),
            ("tripod-ai", "TRIPOD+AI", _TRIPOD),
        )
    )


_HOW = (
    "Items in short words of ours: the journal's form has the official ones. Chapters are those of "
    f"report.html. Where this software cannot know it says: {AUTHOR}"
)


def _table(title: str, items: Mapping[str, tuple[str, str]], known: Mapping[str, str]) -> Table:
    rows = tuple(
        (head(number), Cell(words), Cell(known.get(topic) or AUTHOR))
        for number, (words, topic) in items.items()
    )
    return Table(f"{title}: items", ("item", "what is asked", "what is known"), rows)


def _known(results: Assessment) -> dict[str, str]:
    """Topic → what the software knows; topics that it knows nothing of are not there, or empty."""
    films, facts = results.collection.all, results.facts
    _, positive = results.labels
    trained = any(trial.train is not None for trial in results.collection.trials)
    return {
        **_of_data(results),
        **_partitions(results, trained=trained),
        "technology": "Deep learning: convolutional networks.",
        "preprocessing": f"Fixed and versioned: {facts.get('image size', 'see report.html')}, "
        f"digest {facts.get('preprocessing digest', 'in report.html')}.",
        "size": f"None was calculated here; {results.comparison.films} films were tested. {AUTHOR}",
        "model": f"Networks: {_weights(results) or 'see report.html'}. {AUTHOR}",
        "software": "cxr-triton (CITATION.cff) with PyTorch, MONAI, ONNX and NVIDIA Triton.",
        "initial": _initial(results),
        "training": _if("recipe digest" in facts, f"Recipe {facts.get('recipe digest', '')}."),
        "chosen": _if(trained, "Epochs were chosen on validation films, never on test films."),
        "ensemble": _ensemble(results),
        "metrics": "ROC AUC, average precision, accuracy, sensitivity, specificity, predictive "
        "values, Brier score, calibration error; curves (chapters 3, 4 and Calibration).",
        "uncertainty": "95 % intervals: exact for proportions, patients resampled for areas; "
        "differences paired, with DeLong's test (chapter Methods).",
        "robustness": _if(results.audit is not None, "Shortcut audit: trivial baselines, blanked "
                          "films, figures within a source; subgroups; lower prevalences."),
        "explained": "Grad-CAM, and the share of its heat inside the lungs (chapter Shortcut "
        "audit).",
        "predictors": "The film alone, and the lungs found on it.",
        "performance": _performance(results),
        "failures": f"figures/films-to-look-at, and scores.csv by film. {AUTHOR}",
        "limitations": f"Chapter Methods and limitations. {AUTHOR}",
        "details": "report.html has the digests of weights, recipe and preprocessing; metrics.json "
        "every figure.",
        "availability": f"cxr-triton is open (CITATION.cff). Model and data: {AUTHOR}",
        "fairness": "Figures by sex, age and view from 30 films of each class on (chapter "
        f"Subgroups). {AUTHOR}",
        "output": f"Probability of {positive}; positive above {results.comparison.threshold:g}.",
        "calibration": "Temperatures and operating points of validation films, judged on others."
        if results.calibration and results.calibration.networks
        else "None was done.",
        "imbalance": f"{films.positives} of {films.films} films are {positive}.",
    }  # fmt: skip


def _if(there: bool, words: str) -> str:
    return words if there else ""


def _of_data(results: Assessment) -> dict[str, str]:
    """Which films these are."""
    films, (negative, positive) = results.collection.all, results.labels
    groups = results.collection.by_source
    sources = ", ".join(f"{group.name or 'not stated'} ({group.films} films)" for group in groups)
    lacking = ", ".join(results.subgroups.absent) if results.subgroups else ""
    return {
        "sources": f"{sources}. {AUTHOR}",
        "missing": _if(bool(lacking), f"No film has a value of: {lacking}. ")
        + "Films without a value are a subgroup of their own; nothing is imputed.",
        "labels": f"As the manifest has them: {positive} or {negative}. {AUTHOR}",
        "numbers": f"{films.films} films of {films.patients} patients, {films.positives} of them "
        f"{positive}; by source and side in report.html. Excluded ones: {AUTHOR}",
        "characteristics": "Sex, age and view as far as the manifest has them (chapter Subgroups). "
        f"{AUTHOR}",
    }


def _partitions(results: Assessment, *, trained: bool) -> dict[str, str]:
    """How films were divided, and whether others were tested on."""
    if not trained:
        return {"internal": "", "external": _sources_of_test(results)}
    trials = len(results.collection.trials)
    how = (
        "each source was left out once"
        if results.transfer
        else f"{trials} folds"
        if results.folds
        else f"{trials} random splits"
        if trials > 1
        else "the manifest's or the run's splits"
    )
    return {
        "partitions": f"Training, validation and test films: {how}, by patient.",
        "disjoint": "Patient.",
        "internal": _performance(results),
        "external": f"{len(results.transfer)} sources, each judged by networks that never saw it "
        "(chapter At another hospital)."
        if results.transfer
        else _sources_of_test(results),
    }


def _sources_of_test(results: Assessment) -> str:
    if results.audit is None:
        return ""
    new = results.audit.new_sources
    if new:
        return f"Networks learnt from no film of {', '.join(new)}."
    if new is None:
        return f"Not known: the manifest names no training films. {AUTHOR}"
    return "None: test films are of sources that the networks learnt from."


def _weights(results: Assessment) -> str:
    start = "weights of "
    names = [name.removeprefix(start) for name in results.facts if name.startswith(start)]
    taken = "segment (not trained here)" if results.lungs_note else "segment"
    return ", ".join(taken if name == "segment" else name for name in names)


def _initial(results: Assessment) -> str:
    start = results.facts.get("starting weights", "")
    if start and results.lungs_note:
        return f"Classifiers: {start}. {results.lungs_note}"
    return start or _if(bool(results.lungs_note), f"{results.lungs_note} Classifiers: {AUTHOR}")


def _ensemble(results: Assessment) -> str:
    row = results.comparison.row("ensemble")
    if row is None or len(row.members) < 2:
        return "None: one network."
    return f"Mean of the probabilities of {', '.join(row.members)}."


def _performance(results: Assessment) -> str:
    row = results.comparison.row("ensemble")
    if row is None:
        return ""
    figures, told = figures_of(row), []
    for metric in ("roc_auc", "sensitivity", "specificity"):
        found = getattr(figures, metric)
        if found.value is not None and found.low is not None and found.high is not None:
            ends = interval_text(metric, found.low, found.high)
            told.append(f"{METRIC_NAMES[metric]} {text_of(metric, found.value)} ({ends})")
    who = judge_name(results.comparison)
    return f"{who[0].upper()}{who[1:]} on {results.comparison.films} test films: {'; '.join(told)}."
