"""What a study's networks start from: `--pretrained`, read and tried before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrexport.errors import RecipeError
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.weights import check_pretrained, named_in


def starting_weights(given: Sequence[str], plan: Plan) -> dict[str, str]:
    """Network → the checkpoint that it starts from.

    Args:
        given: `NETWORK=imagenet`, `NETWORK=FILE`, or the folder of `cxrexport weights fetch`. Of a
            folder each network takes its file; the recipe's members must have one there, networks
            that are only compared with them start from scratch where they have none.
        plan: the study, its `pretrained` still empty.

    Raises:
        RecipeError: an entry is none of these.
        CheckpointError: a checkpoint cannot be had, or does not fit its network in the recipe.
    """
    folders = [each for each in given if Path(each).is_dir()]
    start = _of_networks([each for each in given if each not in folders], plan.networks)
    for folder in folders:
        for network in plan.networks:
            name = architecture_of(network)
            there = (Path(folder) / f"{name}.safetensors").is_file()
            if network not in start and (there or network in plan.recipe.served):
                start[network] = named_in(folder, name)
    for network, source in start.items():
        name = architecture_of(network)
        check_pretrained(name, source, plan.recipe_of(network).design_of(name))
    return start


def _of_networks(given: Sequence[str], networks: Sequence[str]) -> dict[str, str]:
    pairs = dict(item.partition("=")[::2] for item in given)
    for network, source in pairs.items():
        if network not in networks or not source:
            raise RecipeError(
                f"--pretrained {network}={source}: write NETWORK=imagenet or NETWORK=FILE, with a "
                f"network of {', '.join(networks)}; or a folder of `cxrexport weights fetch`."
            )
    return pairs
