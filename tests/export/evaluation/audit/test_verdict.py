"""The verdict on evidence whose truth is known: skill, shortcuts, too little to tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.audit.findings import collect, written
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.tables import Audit, SourceInEmbedding
from cxrexport.evaluation.audit.verdict import Verdict, conclude
from cxrexport.evaluation.measures.intervals import Interval, interval
from cxrexport.evaluation.scores import Evidence, Scores, Trial, sigmoid
from cxrexport.manifest import FilmRow

LABELS = ("normal", "tb")
KINDS = ("for", "against", "missing", "note")


def hospital(
    make_film: Callable[..., FilmRow],
    source: str | None,
    positives: int,
    negatives: int,
    start: int,
) -> list[FilmRow]:
    return [
        make_film(start + i, positive=i < positives, source=source)
        for i in range(positives + negatives)
    ]


@pytest.fixture
def sources(make_film: Callable[..., FilmRow]) -> Callable[..., list[FilmRow]]:
    """`sources(north=(100, 80), …)`: films by source, (positive, negative)."""

    def make(**counts: tuple[int, int]) -> list[FilmRow]:
        return [
            film
            for k, (source, (positives, negatives)) in enumerate(counts.items())
            for film in hospital(make_film, source, positives, negatives, 1000 * k)
        ]

    return make


def study(
    films: Sequence[FilmRow],
    *,
    skill: float,
    of_source: float = 0.0,
    thumbnail: float | None = 0.7,
    no_lungs: float | None = 0.5,
    only_lungs: float = 1.5,
    border: float | None = 0.1,
    heat: float = 0.6,
    seed: int = 0,
    map_kept: float | None = None,
    through_lungs: bool = False,
) -> Audit:
    """Audit a judge whose margin is noise + `skill` for the disease + `of_source` for its source.

    A skill of 2 is an AUC of 0.92, of 0.7 one of 0.69. The baseline and the blanked films are
    judged likewise; the source, where it was learnt, is seen in each of them.
    """
    random = np.random.default_rng(seed)
    truth = np.array([film.label == "tb" for film in films])
    names = sorted({film.source or "" for film in films})
    prevalence = {
        name: np.mean([t for f, t in zip(films, truth, strict=True) if (f.source or "") == name])
        for name in names
    }
    source = np.array([prevalence[film.source or ""] for film in films])

    def judged(strength: float) -> np.ndarray:
        return random.normal(size=len(films)) + strength * truth + of_source * source

    blanked = {"no_lungs": no_lungs, "only_lungs": only_lungs, "only_border": border}
    blanked |= dict.fromkeys(("no_lungs_map_kept", "only_border_map_kept"), map_kept)
    test = Scores(
        films=tuple(films),
        labels=LABELS,
        margins={"resnet50": judged(skill)},
        heat_in_lungs=np.clip(random.normal(heat, 0.05, len(films)), 0, 1),
        lung_share=np.full(len(films), 0.3),
        blanked={
            name: {"resnet50": judged(strength)}
            for name, strength in blanked.items()
            if strength is not None
        },
    )
    evidence = Evidence(LABELS, (Trial("fold 1", test, None, test),), folds=True)
    glance = (
        Baseline("thumbnail", None, "it was not asked for")
        if thumbnail is None
        else Baseline("thumbnail", sigmoid(judged(thumbnail)))
    )
    baselines = (glance, Baseline("view", None, "the manifest does not state it"))
    return audit(evidence, baselines, through_lungs=through_lungs)


def said(verdict: Verdict, kind: str, topic: str) -> str:
    return " ".join(f.sentence for f in verdict.findings if (f.kind, f.topic) == (kind, topic))


# --- skill -----------------------------------------------------------------------------------


def test_skill_within_two_sources_beyond_baselines_and_in_the_lungs_is_supported(sources) -> None:
    verdict = conclude(study(sources(north=(100, 100), south=(60, 60)), skill=2.0))
    assert verdict.code == "SKILL_SUPPORTED"
    assert "in each of north, south" in verdict.sentence
    assert "others were not tested" in verdict.sentence
    assert not [f for f in verdict.findings if f.kind == "against"]
    for topic in ("within_source", "baseline", "intervention", "heatmap"):
        assert said(verdict, "for", topic)


def test_single_source_supports_skill_there_and_claims_nothing_of_other_hospitals(sources) -> None:
    verdict = conclude(study(sources(north=(100, 100)), skill=2.0))
    assert verdict.code == "SKILL_IN_ONE_SOURCE"
    assert "one source, north" in verdict.sentence
    assert "nothing of any other hospital" in verdict.sentence
    assert "a ward, a machine or a year" in said(verdict, "note", "association")


def test_skill_shown_in_one_of_two_sources_is_skill_in_one_source(sources) -> None:
    verdict = conclude(study(sources(north=(100, 100), south=(0, 60)), skill=2.0))
    assert verdict.code == "SKILL_IN_ONE_SOURCE"
    assert "south: every film is normal" in said(verdict, "missing", "within_source")


def test_what_is_missing_for_one_reason_is_said_once(sources) -> None:
    films = sources(north=(100, 80), east=(0, 20), south=(0, 100))
    made = study(films, skill=2.0)
    absent = tuple(
        replace(one, reason="the training films were not scored") for one in made.baselines
    )
    verdict = conclude(replace(made, baselines=absent))
    assert "east, south: every film is normal." in said(verdict, "missing", "within_source")
    (baselines,) = (f for f in verdict.findings if f.topic == "baseline")
    assert baselines.sentence.startswith("No baseline here (the training films were not scored): ")


def test_an_interval_without_width_is_not_written_as_one() -> None:
    one_pair = interval(0.0, np.zeros(20))
    assert written(one_pair) == "0.000 (the same on every resample)"
    assert written(interval(-0.1, np.linspace(-0.2, 0, 41))) == (
        "\N{MINUS SIGN}0.100 (\N{MINUS SIGN}0.195 to \N{MINUS SIGN}0.005)"
    )


def test_small_sources_support_skill_taken_together(sources) -> None:
    wards = {f"ward{k}": (15, 15) for k in range(6)}
    verdict = conclude(study(sources(**wards), skill=2.0))
    assert verdict.code == "SKILL_SUPPORTED"
    assert "over the sources taken together" in verdict.sentence


# --- shortcuts -------------------------------------------------------------------------------


def test_source_that_gives_the_label_away_and_chance_within_it_is_the_source_learnt(
    sources,
) -> None:
    """Like covid-cxr: one class from here, the other from there, few films from both."""
    films = sources(mhh=(200, 0), nih=(0, 350), eurorad=(12, 14), articles=(11, 2))
    verdict = conclude(study(films, skill=0.0, of_source=4.0))
    assert verdict.code == "SOURCE_NOT_DISEASE"
    assert "must not be quoted as skill" in verdict.sentence
    assert "a frame around the film is enough" in verdict.sentence
    assert "(23 tb and 16 normal films)" in verdict.sentence
    assert said(verdict, "against", "association")
    assert said(verdict, "against", "intervention")
    assert "too few to judge by" in said(verdict, "missing", "within_source")


def test_source_and_label_that_go_together_cannot_be_told_apart(sources) -> None:
    """The networks may know the disease, and the frame does not give the source away; yet."""
    verdict = conclude(study(sources(mhh=(100, 0), nih=(0, 100)), skill=2.0))
    assert verdict.code == "SOURCE_OR_DISEASE"
    assert "cannot be told from the source" in verdict.sentence
    assert "must not be quoted as skill" in verdict.sentence


def test_handful_of_films_within_a_source_is_no_evidence_of_a_gap(sources) -> None:
    # The two films of each class are ranked the wrong way round, as chance may have it.
    films = sources(mhh=(100, 0), nih=(0, 100), eurorad=(2, 2))
    found = study(films, skill=2.0, of_source=1.0, border=None)
    wrong = replace(found.skill, roc_auc=Interval(0.25, 0.0, 0.5), gap=Interval(0.7, 0.45, 0.95))
    verdict = conclude(replace(found, skill=wrong))
    assert verdict.code == "SOURCE_OR_DISEASE"
    assert "0.25" not in verdict.sentence


def test_sources_of_one_class_told_by_the_frame_alone_are_the_source_learnt(sources) -> None:
    films = sources(mhh=(100, 0), nih=(0, 100))
    assert conclude(study(films, skill=0.0, of_source=3.0)).code == "SOURCE_NOT_DISEASE"


def test_chance_within_sources_that_can_be_judged_is_the_source_learnt(sources) -> None:
    films = sources(north=(180, 40), south=(40, 180))
    verdict = conclude(study(films, skill=0.0, of_source=5.0))
    assert verdict.code == "SOURCE_NOT_DISEASE"
    assert "quote the latter" in said(verdict, "against", "within_source")


def test_inflated_whole_set_with_skill_within_is_supported_by_the_figure_within(sources) -> None:
    films = sources(north=(180, 40), south=(40, 180))
    found = study(films, skill=1.5, of_source=1.5)
    verdict = conclude(found)
    assert verdict.code == "SKILL_SUPPORTED"
    assert found.skill.roc_auc.value is not None
    assert found.skill.whole.roc_auc.value is not None
    assert f"AUC {found.skill.roc_auc.value:.3f}" in verdict.sentence
    assert f"{found.skill.whole.roc_auc.value:.2f}" not in verdict.sentence
    assert said(verdict, "against", "within_source")


def test_thumbnail_as_good_as_the_networks_makes_a_shortcut_suspect(sources) -> None:
    films = sources(north=(100, 100), south=(60, 60))
    verdict = conclude(study(films, skill=1.5, thumbnail=1.5))
    assert verdict.code == "SHORTCUT_SUSPECTED"
    assert "a thumbnail of 24 by 24 greys is not surely worse" in verdict.sentence
    assert "not shown to be better" in said(verdict, "against", "baseline")


@pytest.mark.parametrize(
    ("blanked", "words"),
    [
        ({"border": 1.5}, "with only a frame of the film kept"),
        ({"no_lungs": 2.0}, "with the lungs blanked out"),
    ],
)
def test_skill_that_stays_without_the_lungs_makes_a_shortcut_suspect(
    sources, blanked: dict[str, float], words: str
) -> None:
    films = sources(north=(100, 100), south=(60, 60))
    verdict = conclude(study(films, skill=2.0, **blanked))
    assert verdict.code == "SHORTCUT_SUSPECTED"
    assert words in verdict.sentence
    assert "too much for films without their lungs" in said(verdict, "against", "intervention")


def test_heat_beside_the_lungs_speaks_against_but_does_not_decide(sources) -> None:
    verdict = conclude(study(sources(north=(100, 100), south=(60, 60)), skill=2.0, heat=0.15))
    assert verdict.code == "SKILL_SUPPORTED"
    assert "15 % lies inside the lungs, which are 30 %" in said(verdict, "against", "heatmap")


# --- too little to tell ----------------------------------------------------------------------


def test_fewer_than_thirty_films_of_a_class_cannot_be_judged(sources) -> None:
    verdict = conclude(study(sources(north=(29, 200)), skill=3.0))
    assert verdict.code == "CANNOT_BE_JUDGED"
    assert "29 tb and 200 normal films" in verdict.sentence


def test_thirty_films_of_each_class_can(sources) -> None:
    assert conclude(study(sources(north=(30, 200)), skill=3.0)).code == "SKILL_IN_ONE_SOURCE"


def test_films_of_one_class_cannot_be_judged(sources) -> None:
    assert conclude(study(sources(north=(100, 0)), skill=0.0)).code == "CANNOT_BE_JUDGED"


def test_manifest_without_sources_cannot_be_judged_and_is_told_what_to_fill_in(
    sources, make_film
) -> None:
    films = hospital(make_film, None, 100, 100, 0)
    verdict = conclude(study(films, skill=2.0))
    assert verdict.code == "CANNOT_BE_JUDGED"
    assert "fill in the column" in said(verdict, "missing", "association")


def test_independent_sources_with_few_films_of_both_classes_cannot_be_judged(sources) -> None:
    # 33 films of each class, but 12 + 11 sources of one class each: shuffled by hand so that the
    # source's share of positives says nothing of the next film.
    films = sources(north=(20, 20), south=(6, 6), east=(7, 0), west=(0, 7))
    found = study(films, skill=2.0)
    weak = replace(found.association, roc_auc=replace(found.association.roc_auc, value=0.55))
    assert conclude(replace(found, association=weak)).code == "CANNOT_BE_JUDGED"


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        ({"thumbnail": None}, "the thumbnail baseline"),
        ({"border": None}, "films with only a frame kept"),
        ({"no_lungs": None}, "films with the lungs blanked out"),
    ],
)
def test_skill_is_not_supported_while_a_test_of_it_is_missing(
    sources, absent: dict[str, None], words: str
) -> None:
    verdict = conclude(study(sources(north=(100, 100), south=(60, 60)), skill=2.0, **absent))
    assert verdict.code == "CANNOT_BE_JUDGED"
    assert words in verdict.sentence


def test_chance_everywhere_is_no_skill(sources) -> None:
    verdict = conclude(study(sources(north=(100, 100), south=(60, 60)), skill=0.0))
    assert verdict.code == "NO_SKILL_SHOWN"


# --- findings --------------------------------------------------------------------------------


def test_findings_come_for_against_missing_notes_and_each_is_a_sentence(sources) -> None:
    films = sources(mhh=(200, 0), nih=(0, 350), eurorad=(12, 14), articles=(11, 2))
    findings = conclude(study(films, skill=0.0, of_source=4.0)).findings
    kinds = [KINDS.index(finding.kind) for finding in findings]
    assert kinds == sorted(kinds)
    assert len(findings) >= 10
    for finding in findings:
        assert re.fullmatch(r"[A-Za-z].*\.", finding.sentence), finding.sentence
        assert not re.search(r"nan|None", finding.sentence), finding.sentence


def test_sources_never_learnt_from_are_named_and_others_are_said_to_be_untested(sources) -> None:
    found = study(sources(north=(100, 100), south=(60, 60)), skill=2.0)

    def about(new: tuple[str, ...] | None) -> str:
        findings = collect(replace(found, new_sources=new))
        (sentence,) = [f.sentence for f in findings if f.topic == "other_sources"]
        return sentence

    assert "learnt from no film of south" in about(("south",))
    assert "films of every source that they were tested on" in about(())
    assert "is not known" in about(None)


def test_source_in_the_embedding_counts_against_only_where_the_source_tells_the_label(
    sources,
) -> None:
    told = tuple(
        SourceInEmbedding(films, 1, Interval(0.9, 0.8, 0.95)) for films in ("all", *LABELS)
    )
    balanced = study(sources(north=(100, 100), south=(60, 60)), skill=2.0)
    entangled = study(sources(north=(180, 40), south=(40, 180)), skill=2.0)
    for found, kind in ((balanced, "note"), (entangled, "against")):
        (finding,) = [f for f in collect(replace(found, embedding=told)) if f.topic == "embedding"]
        assert finding.kind == kind
        assert "among tb films 0.900 (0.800 to 0.950)" in finding.sentence


@pytest.mark.parametrize(
    ("border", "map_kept", "code"),
    [
        (1.5, 0.1, "SKILL_SUPPORTED"),
        (0.1, 1.7, "SHORTCUT_SUSPECTED"),
        (0.1, None, "CANNOT_BE_JUDGED"),
    ],
)
def test_networks_that_pool_over_the_lungs_are_judged_by_films_that_keep_their_map(
    sources, border, map_kept, code
) -> None:
    films = sources(north=(100, 80), south=(90, 100))
    asked = {"skill": 2.0, "border": border, "map_kept": map_kept}
    judged = conclude(study(films, through_lungs=True, **asked))
    assert judged.code == code, judged.sentence
    if border > 1:
        assert "With only a frame of the film kept the AUC" in said(judged, "note", "intervention")
        assert re.search(
            r"Mind: without the lung map, with only a frame of the film kept \d+ % of it is left.$",
            judged.sentence,
        )
        assert conclude(study(films, **asked)).code == "SHORTCUT_SUSPECTED"
    else:
        assert "Mind:" not in judged.sentence
