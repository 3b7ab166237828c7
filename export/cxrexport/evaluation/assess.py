"""All analyses of an evaluation, in one object, and that object as metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cxrexport.evaluation.audit import (
    Audit,
    Verdict,
    aspect_ratios,
    audit,
    conclude,
    thumbnails,
    trivial_baselines,
)
from cxrexport.evaluation.calibration import CalibrationStudy, calibrate
from cxrexport.evaluation.collection import Collection, collection_of
from cxrexport.evaluation.comparison import Comparison, compare
from cxrexport.evaluation.lungs import LungFigures, lung_figures
from cxrexport.evaluation.material import Material, compare_lungs, different
from cxrexport.evaluation.measures import BOOTSTRAP, paired_difference
from cxrexport.evaluation.retrieval import Retrieval, retrieve
from cxrexport.evaluation.scores import Trial
from cxrexport.evaluation.subgroups import Subgroups, judge_subgroups
from cxrexport.evaluation.transfer import Transfer, transfers
from cxrexport.manifest import FilmRow

NOTICE = (
    "Research use only. Not a medical device, not for clinical use. No figure in this report says "
    "how well the networks would do on other films than these."
)

SCHEMA = 2
"""Of metrics.json; changes when a key changes its meaning. Since 2 every interval resamples
patients or is exact, `*_by_patient` is gone, and `samples` are the ensemble's alone."""
DIGITS = 6
"""Significant digits of a number in metrics.json."""


@dataclass(frozen=True)
class Assessment:
    """All results of a study or of one evaluated run; plain numbers, strings and tuples.

    Attributes:
        title: of the report.
        labels: negative and positive class.
        folds: whether the trials are folds of a cross-validation, so that each film was tested
            once; else they are random splits, or one single trial.
        collection: the films.
        comparison: Table 2.
        facts: what was used (recipe, digests, versions, command), by name, in this order.
        notice: a sentence of the networks themselves, from their recipe; None if none.
        audit: the shortcut audit; None with a reason in `absent["audit"]`, as every part below.
        verdict: the audit in words.
        retrieval: nearest films.
        subgroups: by sex, age, view, source, finding and difficulty.
        calibration: reliability and operating points.
        lungs: Dice and Hausdorff distance of the lung network.
        lungs_note: what the lung network is and learnt from, where it was not trained here.
        transfer: each source that was left out and judged by networks that never saw it; empty
            where none was.
        before: the comparison of the networks that these were fine-tuned from, on the same films;
            None where nothing was fine-tuned.
        failures: what failed or was not trained → why.
        absent: name of a part that is None → why.
    """

    title: str
    labels: tuple[str, str]
    folds: bool
    collection: Collection
    comparison: Comparison
    facts: Mapping[str, str] = field(default_factory=dict)
    notice: str | None = None
    audit: Audit | None = None
    verdict: Verdict | None = None
    retrieval: Retrieval | None = None
    subgroups: Subgroups | None = None
    calibration: CalibrationStudy | None = None
    lungs: LungFigures | None = None
    lungs_note: str | None = None
    transfer: tuple[Transfer, ...] = ()
    before: Comparison | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def assess(
    material: Material,
    *,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
    step: Callable[[str], None] = lambda what: None,
) -> Assessment:
    """Run every analysis.

    Args:
        material: what it works on.
        threshold: above which a film is called positive; the study's is 0.5.
        bootstrap: resamples behind each interval.
        seed: of everything that is drawn.
        step: called with the name of what comes next.

    Raises:
        FilmError: a film cannot be read any more.
        CxrExportError: a lung mask does not fit its film.
    """
    evidence = material.evidence
    drawn: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    step("trivial baselines")
    films = different([film for trial in evidence.trials for film in _films_of(trial)])
    baselines = trivial_baselines(evidence, films, thumbnails(films), aspect_ratios(films))
    step("comparison of the networks")
    comparison = compare(evidence, baselines=baselines, threshold=threshold, **drawn)
    step("similar films")
    retrieval = retrieve(evidence, threshold=threshold, **drawn)
    step("subgroups")
    subgroups = judge_subgroups(evidence, threshold=threshold, draws=bootstrap, **drawn)
    step("calibration")
    calibration = calibrate(evidence, **drawn)
    step("other hospitals")
    transfer = transfers(evidence, baselines, **drawn)
    step("shortcut audit")
    members = evidence.pooled.members
    audited = audit(
        evidence,
        baselines,
        network=members[0] if len(members) == 1 else None,
        through_lungs=material.through_lungs,
        threshold=threshold,
        **drawn,
    )
    step("lungs")
    compared = compare_lungs(material)
    absent = {} if compared else {"lungs": "no test film has a lung mask to compare with"}
    return Assessment(
        title=material.title,
        labels=evidence.labels,
        folds=evidence.folds,
        collection=collection_of(evidence),
        comparison=comparison,
        facts={**material.facts, **_gained(material, bootstrap, seed)},
        notice=None if material.recipe is None else " ".join(material.recipe.notice.split()),
        audit=audited,
        verdict=conclude(audited),
        retrieval=retrieval,
        subgroups=subgroups,
        calibration=calibration,
        lungs=lung_figures(compared, **drawn) if compared else None,
        lungs_note=material.lungs_note,
        transfer=transfer,
        before=(
            compare(material.before, threshold=threshold, **drawn) if material.before else None
        ),
        failures=material.failures,
        absent=absent,
    )


def _films_of(trial: Trial) -> list[FilmRow]:
    sides = (trial.train, trial.validation, trial.test)
    return [film for side in sides if side is not None for film in side.films]


def _gained(material: Material, bootstrap: int, seed: int) -> dict[str, str]:
    """What fine-tuning gained, as a fact; empty where nothing was fine-tuned."""
    if material.before is None:
        return {}
    before, after = material.before.pooled, material.evidence.pooled
    gain = paired_difference(
        after.truth,
        after.ensemble(),
        before.ensemble(),
        bootstrap=bootstrap,
        seed=seed,
        groups=after.patients,
    )
    return {
        "ROC AUC gained by fine-tuning": f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    }


def metrics_json(results: Assessment) -> str:
    """All results as JSON: the same results, the same bytes; no path, no time, no patient."""
    content = {"schema": SCHEMA, "research_use_only": NOTICE, **asdict(results)}
    return json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Tuples as lists, keys as strings, numbers to `DIGITS` digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a result is not finite")
        return float(f"{value:.{DIGITS}g}")
    return value
