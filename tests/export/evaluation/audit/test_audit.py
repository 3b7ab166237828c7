"""The audit as a whole: what it is of, what is refused, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest

from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.manifest import FilmRow
from made_up_evidence import LABELS, Films, audited, evidence, trial, two_sources


def network_trial(films: Sequence[FilmRow], **margins: Sequence[float]) -> Trial:
    made = {name: np.asarray(margin, dtype=float) for name, margin in margins.items()}
    return Trial("fold", None, None, Scores(tuple(films), LABELS, made))


def test_each_networks_temperature_goes_into_the_ensemble(make_films: Films) -> None:
    # Positive film: σ(4) and σ(-3), mean 0.51; with the first cooled to σ(1), mean 0.39. The
    # negative film has 0.5.
    given = evidence(network_trial(make_films(2), resnet34=[4, 0], resnet50=[-3, 0]))
    cooled = audited(given, temperatures=[{"resnet34": 4.0}])
    assert audited(given).skill.whole.roc_auc.value == 1.0
    assert cooled.skill.whole.roc_auc.value == 0.0


def test_ensemble_is_of_the_networks_that_every_trial_has(make_films: Films) -> None:
    both = network_trial(make_films(2), resnet34=[1, 0], resnet50=[-9, 9])
    one = network_trial(make_films(2, start=10), resnet34=[1, 0])
    assert audited(evidence(both, one)).skill.whole.roc_auc.value == 1.0


def test_one_network_can_be_audited_instead_of_the_ensemble(make_films: Films) -> None:
    given = evidence(network_trial(make_films(2), resnet34=[9, 0], densenet121=[0, 1]))
    found = audited(given, network="densenet121")
    assert (found.judged, found.skill.whole.roc_auc.value) == ("densenet121", 0.0)


def test_nothing_to_audit_is_refused(make_films: Films) -> None:
    given = evidence(trial(make_films(4), np.full(4, 0.5)))
    with pytest.raises(ValueError, match="densenet121"):
        audited(given, network="densenet121")
    with pytest.raises(ValueError, match="2 sets of temperatures, 1 trials"):
        audited(given, temperatures=({}, {}))


def test_sources_that_the_networks_never_learnt_from_are_named(make_films: Films) -> None:
    def scores(films: Sequence[FilmRow]) -> Scores:
        return trial(films, np.full(len(films), 0.5)).test

    test = make_films(4, source="north") + make_films(4, start=10, source="abroad")
    train = make_films(4, start=20, source="north")
    known = Trial("run", scores(train), None, scores(test))
    assert audited(evidence(known)).new_sources == ("abroad",)
    assert audited(evidence(replace(known, train=None))).new_sources is None
    by_validation = replace(known, validation=scores(make_films(2, start=30, source="abroad")))
    assert audited(evidence(by_validation)).new_sources == ()
    there_only = Trial("run", scores(test[4:]), None, scores(train))
    assert audited(evidence(known, there_only)).new_sources == ("abroad",)


def test_audit_is_plain_json_without_nan_and_the_same_twice(
    make_folds: Callable[..., Evidence], make_films: Films
) -> None:
    given = make_folds(two_sources(make_films))
    baselines = (Baseline("view", None, "the manifest does not state it"),)
    first, again = (
        json.dumps(asdict(audited(given, baselines, seed=5)), allow_nan=False) for _ in range(2)
    )
    assert first == again


def test_films_of_one_class_give_an_audit_without_aucs(make_films: Films) -> None:
    found = audited(evidence(trial(make_films(20, share=1, source="north"), np.full(20, 0.5))))
    assert found.skill.whole.roc_auc.value is None
    assert (found.positives, found.negatives) == (20, 0)
    json.dumps(asdict(found), allow_nan=False)
