"""The figures: what they show is what they were given, and the same data give the same files."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from cxrexport.report.figures import (
    Estimate,
    FilmPicture,
    bootstrap_histograms,
    confusion_matrix,
    contact_sheet,
    embedding_map,
    estimates,
    lung_contours,
    nearest_films,
    operating_points,
    png_bytes,
    precision_recall_curves,
    reliability_curve,
    roc_curves,
    save_figure,
    score_against_days,
    score_histogram,
    sex_and_age,
    svg_bytes,
    tsne_coordinates,
)
from cxrexport.report.figures.augmented import COMBINED, augmented_panels
from cxrexport.report.figures.style import NEGATIVE, POSITIVE
from cxrexport.training.recipe import PROBABILITIES, Augmentation

LABELS = ("normal", "tb")
TRUTH = np.array([False, False, True, True])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])


def texts(figure):
    """Every word of a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def has(figure, *words):
    everything = "\n".join(texts(figure))
    return all(word in everything for word in words)


# --- files --------------------------------------------------------------------------------------


def test_the_same_data_give_the_same_bytes(tmp_path):
    files = []
    for name in ("a", "b"):
        saved = save_figure(roc_curves(TRUTH, {"ensemble": SCORE}), tmp_path / name, "roc")
        files.append((saved.svg.read_bytes(), saved.png.read_bytes()))
    assert files[0] == files[1]


def test_files_carry_no_date():
    figure = confusion_matrix(TRUTH, SCORE > 0.5, LABELS)
    assert b"<dc:date>" not in svg_bytes(figure)
    assert b"tIME" not in png_bytes(figure)


def test_drawing_leaves_the_process_s_own_style_alone():
    with matplotlib.rc_context({"font.size": 31.0, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        svg_bytes(confusion_matrix(TRUTH, SCORE > 0.5, LABELS))
        assert dict(matplotlib.rcParams) == before


def test_a_style_of_the_process_does_not_change_the_figure():
    plain = svg_bytes(confusion_matrix(TRUTH, SCORE > 0.5, LABELS))
    with matplotlib.rc_context({"font.size": 31.0, "svg.fonttype": "none"}):
        assert svg_bytes(confusion_matrix(TRUTH, SCORE > 0.5, LABELS)) == plain


def test_a_label_is_never_taken_for_mathematics():
    figure = confusion_matrix(TRUTH, SCORE > 0.5, ("$x$ a_b", "cost $1 or $2"))
    assert svg_bytes(figure)


# --- classification -----------------------------------------------------------------------------


def test_the_confusion_matrix_counts_truth_in_rows():
    # At 0.5: one of two positive films is found, no negative film is called positive.
    figure = confusion_matrix(TRUTH, SCORE > 0.5, LABELS)
    cells = [text for text in texts(figure) if "%" in text]
    assert cells == ["2\n100.0 %", "0\n0.0 %", "1\n50.0 %", "1\n50.0 %"]


def test_the_curves_carry_the_areas_that_scikit_learn_s_own_example_gives():
    assert has(roc_curves(TRUTH, {"ensemble": SCORE}), "0.750")
    assert has(precision_recall_curves(TRUTH, {"ensemble": SCORE}), "0.833")


def test_one_class_gives_no_curve_and_says_so():
    for draw in (roc_curves, precision_recall_curves):
        assert has(draw(np.ones(3, bool), {"ensemble": SCORE[:3]}), "one class only")


def test_the_band_spans_the_trials():
    good, bad = (TRUTH, np.array([0.1, 0.2, 0.8, 0.9])), (TRUTH, np.array([0.9, 0.8, 0.2, 0.1]))
    figure = roc_curves(TRUTH, {"ensemble": SCORE}, [good, bad])
    (band,) = figure.axes[0].collections
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (0, 1)
    assert has(figure, "range of 2 trials")


def test_the_histogram_gives_each_class_its_own_colour_and_count():
    figure = score_histogram(TRUTH, SCORE, LABELS)
    for axes, colour, films in zip(figure.axes, (POSITIVE, NEGATIVE), (2, 2), strict=True):
        assert {to_hex(bar.get_facecolor()).upper() for bar in axes.patches} == {colour}
        assert sum(bar.get_height() for bar in axes.patches) == films


# --- embedding, days, errors --------------------------------------------------------------------


def test_tsne_keeps_two_far_clusters_apart_and_repeats_itself():
    random = np.random.default_rng(0)
    embedding = random.normal(size=(40, 8)) + 50 * (np.arange(40) < 20)[:, None]
    first = tsne_coordinates(embedding, seed=4)
    assert np.array_equal(first, tsne_coordinates(embedding, seed=4))
    near = np.linalg.norm(first[:, None] - first[None], axis=-1)
    np.fill_diagonal(near, np.inf)
    assert ((near.argmin(axis=1) < 20) == (np.arange(40) < 20)).all()


def test_tsne_refuses_too_few_films_and_spreads_nothing_where_all_are_alike():
    with pytest.raises(ValueError, match="at least 8"):
        tsne_coordinates(np.zeros((7, 3)))
    assert not tsne_coordinates(np.ones((9, 3))).any()


def test_the_map_tells_class_by_colour_and_side_by_marker():
    figure = embedding_map(
        np.arange(8).reshape(4, 2), TRUTH, np.array([True, False, True, False]), LABELS, "fold-01"
    )
    shown = {
        (group.get_label(), to_hex(group.get_facecolor()[0]).upper(), len(group.get_offsets()))
        for group in figure.axes[0].collections
    }
    assert shown == {
        ("normal, training (n = 1)", NEGATIVE, 1),
        ("normal, test (n = 1)", NEGATIVE, 1),
        ("tb, training (n = 1)", POSITIVE, 1),
        ("tb, test (n = 1)", POSITIVE, 1),
    }


def test_days_are_drawn_as_points_and_daily_means():
    daily = (np.array([0.0, 2.0]), np.array([0.25, 0.575]), np.array([False, True]))
    days = np.array([0.0, 0.0, 2.0, 2.0])
    figure = score_against_days(days, SCORE, TRUTH, daily, LABELS, "admission")
    axes = figure.axes[0]
    means = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "D"]
    assert means == [[[0.0, 0.25]], [[2.0, 0.575]]]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 4
    assert axes.get_xlabel() == "days since admission"


def test_days_far_out_are_counted_not_drawn():
    days = np.r_[np.arange(99.0), 5000.0]
    none = (np.array([]), np.array([]), np.array([], bool))
    figure = score_against_days(
        days, np.full(100, 0.5), np.ones(100, bool), none, LABELS, "days since onset"
    )
    assert has(figure, "not shown")
    assert figure.axes[0].get_xlim()[1] < 200
    assert figure.axes[0].get_xlabel() == "days since onset"


def test_wrong_films_are_shown_as_shares_with_counts():
    figure = sex_and_age([("F", 9, 1), ("M", 6, 2), (None, 1, 0)], [30.0, 52.0], [71.0])
    bars = [bar.get_height() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([10, 25, 0])
    assert has(figure, "1 of 10", "2 of 8", "0 of 1", "not known", "n = 19 films")


def test_a_column_without_values_says_so_in_its_panel():
    assert has(sex_and_age([(None, 3, 1)], [], []), "no film has a sex", "no film has an age")


# --- estimates, bootstrap, calibration ----------------------------------------------------------


def test_an_estimate_shows_value_interval_and_the_study_s_own():
    rows = [
        Estimate("ours", 0.9, 0.8, 0.95, paper=0.91),
        Estimate("none", None, reason="no film has a view"),
    ]
    figure = estimates(rows, "Title", "AUC", reference=0.5)
    axes = figure.axes[0]
    points = [
        tuple(group.get_offsets()[0]) for group in axes.collections if len(group.get_offsets())
    ]
    assert (0.9, 0.0) in points
    assert (0.91, 0.0) in points
    assert [0.8, 0.95] in [list(line.get_xdata()) for line in axes.lines]
    assert has(figure, "no film has a view", "the study's own value")


def test_bootstrap_histograms_leave_undefined_samples_out():
    figure = bootstrap_histograms(
        {"accuracy": [[0.9, None, 0.8], [None, None]]}, ["split-01", "split-02"]
    )
    first, second = figure.axes
    assert sum(bar.get_height() for bar in first.patches) == 2
    assert not second.patches
    assert has(figure, "undefined", "split-02")


def test_reliability_skips_empty_bins():
    curve = ([0.0, 0.5, 1.0], [0, 3], [None, 0.8], [None, 2 / 3])
    figure = reliability_curve({"after": curve}, "tb")
    line = next(line for line in figure.axes[0].lines if line.get_label() == "after")
    assert line.get_xydata().tolist() == [[0.8, pytest.approx(2 / 3)]]
    assert has(figure, "n = 3 films")


def test_operating_points_read_off_sensitivity_and_specificity():
    figure = operating_points(TRUTH, SCORE, {"sensitivity 95 %": 0.3})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    at = {
        name: np.interp(0.38, lines[name].get_xdata(), lines[name].get_ydata())
        for name in ("sensitivity", "specificity")
    }
    # Above 0.38 lie one of two positive films and one of two negative ones.
    assert at == {"sensitivity": 0.5, "specificity": 0.5}
    assert list(lines["sensitivity 95 %: above 0.300"].get_xdata()) == [0.3, 0.3]


# --- films --------------------------------------------------------------------------------------


def film(size=32):
    return np.linspace(0, 255, size * size).reshape(size, size).astype(np.uint8)


def test_neighbours_stand_beside_their_query_with_truth_probability_and_distance():
    query = FilmPicture(film(), True, 0.91)
    neighbours = [FilmPicture(film(), False, 0.12, 1.5), FilmPicture(film(), True, None, 2.25)]
    figure = nearest_films([(query, neighbours)], LABELS, ["typical"])
    assert has(figure, "query 1\ntypical", "p = 0.91", "p = 0.12   d = 1.50", "d = 2.25")
    frames = [to_hex(axes.spines["left"].get_edgecolor()).upper() for axes in figure.axes]
    assert frames == [POSITIVE, NEGATIVE, POSITIVE]


def test_lung_contours_lie_on_the_edge_of_the_lung():
    lungs = np.zeros((32, 32), np.uint8)
    lungs[8:24, 10:20] = 255
    figure = lung_contours([film()], [lungs], [lungs])
    ours, reader = sorted(
        figure.axes[0].collections, key=lambda c: c.get_linestyle() != [(0.0, None)]
    )
    x, y = np.concatenate([path.vertices for path in ours.get_paths()]).T
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((9.5, 19.5, 7.5, 23.5), abs=0.01)
    assert len(reader.get_paths()[0].vertices)


def augmented(lungs=None, seed=0, **settings):
    panels = augmented_panels(
        film()[None], lungs, Augmentation(**settings), clahe_tiles=8, seed=seed
    )
    return {panel.title: panel for panel in panels}


def test_each_augmentation_is_drawn_at_the_end_of_its_range():
    panels, unit = augmented(), film().astype(np.float32) / 255
    assert panels["1 brighten"].image == pytest.approx(np.clip(1.2 * unit, 0, 1), abs=1e-5)
    assert panels["2 gamma, brighter"].image == pytest.approx(unit**0.7, abs=1e-3)
    assert panels["2 gamma, darker"].image == pytest.approx(unit**1.5, abs=1e-3)
    assert np.array_equal(panels["7 flip left to right"].image, unit[:, ::-1])
    assert panels["8 or blur"].image.std() < unit.std()


def test_the_ninth_augmentation_is_the_seventh_and_says_so():
    panels = augmented()
    flipped, again = panels["7 flip left to right"], panels["9 horizontal flip"]
    assert np.array_equal(flipped.image, again.image)
    assert "same operation as 7" in again.caption
    assert "never vertical" in again.caption


def test_masking_to_the_lungs_is_shown_where_the_recipe_asks_for_it():
    side = film().shape[-1]
    lungs = np.where(np.arange(side) < side // 2, 255, 0).astype(np.uint8) * np.ones_like(film())
    settings = Augmentation(**dict.fromkeys(PROBABILITIES, 0.0), mask_to_lungs=0.5)
    drawn = augmented_panels(film()[None], lungs[None], settings, clahe_tiles=8, seed=0)
    panels = {panel.title: panel for panel in drawn}
    shown = panels["masked to the lungs"]
    assert not shown.image[:, side // 2 :].any()
    assert shown.image[:, : side // 2].any()
    assert "p = 0.5" in shown.caption
    named = {panels[f"draw {number + 1}"].caption for number in range(COMBINED)}
    assert named <= {"mask to lungs", "nothing drawn"}
    assert "mask to lungs" in named
    assert "masked to the lungs" not in augmented()


def test_geometry_moves_film_and_lungs_by_what_the_caption_says():
    disc = (np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 16).astype(np.uint8)[None] * 255
    panels = {
        p.title: p for p in augmented_panels(disc, disc, Augmentation(), clahe_tiles=8, seed=0)
    }
    for title in ("6 scale, larger", "6 scale, smaller"):
        panel = panels[title]
        factor = float(re.match(r"\S (\S+) on both axes", panel.caption)[1])
        area = np.pi * (16 * factor) ** 2
        assert panel.image.sum() == pytest.approx(area, rel=0.04)
        assert np.array_equal(panel.image, panel.lungs)
    turned = augmented(rotate_degrees=90.0)["4 rotate"].image
    unit = film().astype(np.float32) / 255
    assert min(np.abs(turned - np.rot90(unit, k)).max() for k in (1, 3)) < 1e-3


def test_combined_draws_repeat_for_a_seed_and_name_what_was_drawn():
    first, again, other = augmented(seed=1), augmented(seed=1), augmented(seed=2)
    draws = [f"draw {number + 1}" for number in range(COMBINED)]
    assert all(np.array_equal(first[d].image, again[d].image) for d in draws)
    assert any(not np.array_equal(first[d].image, other[d].image) for d in draws)
    always = augmented(**{name: float(name in ("flip", "rotate")) for name in PROBABILITIES})
    assert always["draw 1"].caption == "rotate, flip"
    never = augmented(**dict.fromkeys(PROBABILITIES, 0.0))
    assert never["draw 1"].caption == "nothing drawn"


def test_a_contact_sheet_shows_every_panel_with_its_title():
    panels = list(augmented().values())[:3]
    figure = contact_sheet(panels, "One film", columns=2)
    assert has(figure, "One film", *(panel.title for panel in panels))
    assert sum(axes.axison for axes in figure.axes) == 3
