"""Whose lung maps a study works with: trained a trial on masks, named, or the shipped network's."""

from __future__ import annotations

from dataclasses import replace

from cxrexport.errors import ManifestError, RecipeError
from cxrexport.study.plan import Plan
from cxrexport.training.run import STARTER, given_lungs, origin_of


def with_lungs(plan: Plan, named: str | None) -> Plan:
    """Settle where the lung maps come from: what is named, the masks, or else the shipped network.

    Raises:
        CheckpointError: the named network cannot be had or does not fit.
        RecipeError: trials were begun behind another one.
        ManifestError: some films have masks, but not those of every trial.
    """
    rows = plan.splits[0].rows
    if named is None and not any(row.mask for row in rows):
        named = STARTER
    begun = [plan.run_of(s, "segment") for s in plan.splits if plan.trial_folder(s).is_dir()]
    if named is not None:
        given = given_lungs(named)
        given.check(plan.recipe)
        for run in begun:
            given.check_begun(run)
        return replace(plan, lungs=named, lungs_note=given.note(rows, plan.recipe.spec.size_px))
    for run in begun:
        if origin := origin_of(run, "segment"):
            raise RecipeError(
                f"{run.path} was begun with the lung network of {origin}; give the same --lungs "
                "again, choose another --output, or delete that folder."
            )
    for split in plan.splits:
        for side in ("train", "validation"):
            if not any(row.split == side and row.mask for row in split.rows):
                raise ManifestError(
                    f"{split.name}: {side}: no film has a lung mask to train the lung network on; "
                    f"give the column `mask`, or a trained network with --lungs {STARTER}|RUN|"
                    "REPOSITORY."
                )
    return plan
