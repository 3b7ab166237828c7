"""What int8 costs, on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.quantise.accuracy import Judgement, compare

TRUTH = [True, True, False, False]


def judgement(probability, *, embedding=((1, 0),) * 4, heat=0.0):
    column = np.array(probability, np.float32)
    return Judgement(
        column,
        np.repeat(column[:, None], len(DEFAULT_MEMBERS), axis=1),
        np.array(embedding, np.float32),
        np.full((4, 2, 2), heat, np.float32),
    )


F32 = judgement([0.9, 0.8, 0.3, 0.1])
INT8 = judgement(
    [0.9, 0.2, 0.3, 0.1], embedding=((2, 0), (0, 3), (3, 4), (0, 0)), heat=np.float32(0.25)
)


def test_the_auc_counts_pairs_in_the_wrong_order():
    found = compare(F32, INT8, TRUTH, 0.5, DEFAULT_MEMBERS)
    assert found.auc_f32 == 1
    assert found.auc_int8 == 0.75  # 0.2 of a positive film lies below 0.3 of a negative one
    assert found.auc_fall == 0.25
    assert found.members_auc_int8 == dict.fromkeys(DEFAULT_MEMBERS, 0.75)


def test_differences_and_changed_labels_are_those_of_the_probability():
    found = compare(F32, INT8, TRUTH, 0.5, DEFAULT_MEMBERS)
    assert found.largest_difference == pytest.approx(0.6)
    assert found.mean_difference == pytest.approx(0.15)
    assert found.labels_changed == 1
    assert compare(F32, INT8, TRUTH, 0.15, DEFAULT_MEMBERS).labels_changed == 0
    assert found.members_largest_difference == pytest.approx(dict.fromkeys(DEFAULT_MEMBERS, 0.6))


def test_the_embeddings_are_compared_by_their_angle():
    found = compare(F32, INT8, TRUTH, 0.5, DEFAULT_MEMBERS)
    # The same direction, a right angle, cosine 3/5, and no vector at all against one.
    assert found.embedding_cosine_min == 0
    assert found.embedding_cosine_mean == pytest.approx((1 + 0 + 0.6 + 0) / 4)
    nothing = judgement([0.9, 0.8, 0.3, 0.1], embedding=((0, 0),) * 4)
    assert compare(nothing, nothing, TRUTH, 0.5, DEFAULT_MEMBERS).embedding_cosine_min == 1


def test_the_heatmaps_drift_is_its_mean_change():
    found = compare(F32, INT8, TRUTH, 0.5, DEFAULT_MEMBERS)
    assert (found.heatmap_largest_drift, found.heatmap_mean_drift) == (0.25, 0.25)


def test_films_of_one_class_have_no_auc_and_no_fall():
    found = compare(F32, INT8, [True] * 4, 0.5, DEFAULT_MEMBERS)
    assert (found.auc_f32, found.auc_int8, found.auc_fall) == (None, None, None)
    assert found.members_auc_f32 == {}
    assert found.labels_changed == 1  # what can be said is said
