"""A trained study → what its evaluation works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrexport.errors import CxrExportError
from cxrexport.evaluation.material import Material
from cxrexport.evaluation.scores import Evidence, Trial
from cxrexport.evaluation.scoring import RawScores
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.study.splits import Split
from cxrexport.study.tasks import lung_maps, preprocess_films, scores_path
from cxrexport.training.run import origins_in_words, read_json


def material_of(plan: Plan, failures: Mapping[str, str]) -> Material:
    """Collect the scores of every trial that was trained to its end.

    Args:
        plan: of the study.
        failures: task → what failed; a trial with a failure is left out and reported.

    Raises:
        CxrExportError: no trial is whole.
    """
    whole = [split for split in plan.splits if f"{split.name} scores" not in failures]
    if not whole:
        first = next(iter(failures.items()), ("", "nothing was scored"))
        raise CxrExportError(
            f"No trial could be trained to its end; the first failure: {first[0]}: {first[1]}"
        )
    network = "segment" if plan.segments else plan.networks[0]
    maps, _ = preprocess_films(plan, network)
    return Material(
        title=plan.recipe.name,
        evidence=Evidence(
            labels=plan.recipe.labels,
            trials=tuple(_trial(plan, split) for split in whole),
            folds=_disjoint(whole),
        ),
        spec=plan.recipe.spec,
        recipe=plan.recipe,
        films=plan.splits[0].rows,
        maps=maps,
        lungs=tuple(lung_maps(plan, split) if plan.segments else None for split in whole),
        lungs_note=plan.lungs_note,
        facts=_facts(plan, whole),
        failures=failures,
        through_lungs=plan.recipe.pooling == "lung",
    )


def _trial(plan: Plan, split: Split) -> Trial:
    raw = RawScores.load(scores_path(plan, split))
    sides = {
        side: raw.of(split.rows, split.positions(side), plan.recipe.labels, plan.recipe.served)
        for side in ("train", "validation", "test")
    }
    return Trial(name=split.name, **sides)


def _disjoint(splits: Sequence[Split]) -> bool:
    """Whether no film is tested twice; then pooling the trials counts each film once."""
    tested = [position for split in splits for position in split.positions("test")]
    return len(splits) > 1 and len(tested) == len(set(tested))


def _facts(plan: Plan, whole: Sequence[Split]) -> dict[str, str]:
    facts = {
        "recipe": plan.recipe.name,
        "recipe digest": plan.recipe.digest,
        "preprocessing digest": plan.recipe.spec.digest,
        "image size": f"{plan.recipe.spec.size_px} px",
        "width of the networks": plan.recipe.described_width,
        "trials evaluated": ", ".join(split.name for split in whole),
        "lung network": (
            plan.lungs_note or "one a trial, cross-fitted" if plan.segments else "none"
        ),
        "starting weights": _origins(plan, whole),
    }
    for split in whole:
        weights = read_json(scores_path(plan, split).with_suffix(".json"))
        facts[f"weights of {split.name}"] = ", ".join(
            f"{name} {digest[:12]}" for name, digest in weights.items()
        )
    return facts


def _origins(plan: Plan, whole: Sequence[Split]) -> str:
    return origins_in_words(
        (network, plan.run_of(split, network), architecture_of(network))
        for network in plan.networks
        for split in whole
    )
