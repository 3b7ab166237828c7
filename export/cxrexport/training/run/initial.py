"""Fine-tuning: networks that start from another run's, as at another hospital.

What a network started from is kept beside it in `init.json`, so that it can be judged before and
after, and so that a training that was begun cannot go on from somewhere else.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from cxrclient.files import sha256_of, write_whole
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.processes import is_first
from cxrexport.training.run.folder import NETWORKS, Run, read_json

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Initial:
    """What a network started from; the content of its `init.json`.

    Attributes:
        run: the other run's folder, seen from this run's.
        sha256: of the checkpoint there.
        freeze: `features` if only the head learnt.
        head: whether the head came along (`kept`) or was made anew (`new`, as the labels differ);
            None for the lung network, which has none.
    """

    run: str
    sha256: str
    freeze: str | None = None
    head: str | None = None


def initial_run(run: Run) -> Path | None:
    """Return the folder of the run that this one's networks started from; None if from scratch."""
    for network in reversed(NETWORKS):
        initial = initial_of(run, network)
        if initial is not None:
            return Path(os.path.normpath(run.path / initial.run))
    return None


def initial_of(run: Run, network: str) -> Initial | None:
    """Return what one network started from; None if from scratch, or not begun."""
    known = run.folder(network).initial
    if not known.is_file():
        return None
    return Initial(**read_json(known))


def start_from(
    module: nn.Module, network: str, run: Run, init: Path, *, freeze: bool = False
) -> None:
    """Load another run's weights of the same network, and write down where they are from.

    The head comes along if both runs tell the same labels apart; otherwise it stays as it is.

    Args:
        module: from `Run.make`; changed in place.
        network: its name.
        run: the run that it is to be trained in.
        init: the other run's folder.
        freeze: whether only the head will learn.

    Raises:
        CheckpointError: the other run's network is missing, damaged, or not one of this width
            behind this preprocessing.
        RecipeError: the network was begun from other weights.
    """
    other = Run.open(init)
    _check_fit(network, run, other)
    weights = other.load(network).state_dict()
    head: str | None = None
    if network != "segment":
        same = other.recipe.labels == run.recipe.labels
        head = "kept" if same else "new"
        if not same:
            ours = module.state_dict()
            weights |= {key: ours[key] for key in ours if key.startswith("head.")}
    initial = Initial(
        run=os.path.relpath(init.absolute(), run.path.absolute()),
        sha256=sha256_of(other.folder(network).checkpoint),
        freeze="features" if freeze else None,
        head=head,
    )
    _refuse_another(run, network, initial)
    module.load_state_dict(weights)
    _write(run, network, initial)
    _say(network, init, other, run, initial)


def start_afresh(network: str, run: Run) -> None:
    """Note that a network starts from no other run's.

    Raises:
        RecipeError: it was begun from another run's weights, or other networks of the run were.
    """
    _refuse_another(run, network, None)
    if is_first():
        run.folder(network).initial.unlink(missing_ok=True)


def _refuse_another(run: Run, network: str, initial: Initial | None) -> None:
    """Compare with what this network, and those beside it in the run, were begun from."""
    for name in NETWORKS:
        folder, known = run.folder(name), initial_of(run, name)
        if not folder.begun or (name == "segment") != (network == "segment"):
            continue
        ours = initial and (initial.run, initial.freeze)
        theirs = known and (known.run, known.freeze)
        changed = initial and known and name == network and initial.sha256 != known.sha256
        if ours != theirs or changed:
            raise RecipeError(
                f"{folder.path} was begun {_describe(known)}; now {network} would start "
                f"{_describe(initial)}. Give the same again, choose another --output, or delete "
                "that folder."
            )


def take_over_lungs(run: Run, init: Path) -> None:
    """Make another run's lung network this run's, as it is; of several processes the first does.

    Raises:
        CheckpointError: as `start_from`.
    """
    module = run.make("segment")
    start_from(module, "segment", run, init)
    folder, source = run.folder("segment"), Run.open(init).folder("segment")
    run.save("segment", module, {"taken_over": "true"})
    metrics = read_json(source.metrics)
    initial = initial_of(run, "segment")
    assert initial is not None  # noqa: S101  # start_from wrote it
    metrics["taken_over"] = asdict(initial)
    write_whole(folder.metrics, json.dumps(metrics, indent=2) + "\n")


def check_preprocessing(
    whose: str, theirs: PreprocessingSpec, ours: PreprocessingSpec, *, any_size: bool = True
) -> None:
    """Find out whether weights fit behind another preprocessing than they learnt behind.

    Args:
        whose: the weights, for the message.
        theirs: that they learnt behind.
        ours: that they are to stand behind.
        any_size: let the size differ: the lung network has no weight that depends on it.

    Raises:
        CheckpointError: they do not.
    """
    there, here = theirs.to_dict(), ours.to_dict()
    differing = [
        f"{key} {there[key]} there, {value} here"
        for key, value in here.items()
        if there[key] != value and not (any_size and key == "size_px")
    ]
    if differing:
        raise CheckpointError(
            f"{whose} was trained with another preprocessing ({'; '.join(differing)}), so its "
            "weights do not fit here. Give the recipe the preprocessing of that run."
        )


def _check_fit(network: str, run: Run, other: Run) -> None:
    ours, theirs = run.recipe, other.recipe
    lungs = network == "segment"
    check_preprocessing(str(other.path), theirs.spec, ours.spec, any_size=lungs)
    if lungs:
        return
    for what, here in ours.design_of(network).items():
        there = theirs.design_of(network)[what]
        if what != "masked" and there != here:
            raise CheckpointError(
                f"{network} has {what} {there} in {other.path} and {here} in recipe "
                f"{ours.name!r}; give the recipe the {what} of that run."
            )
    if theirs.input != ours.input:
        raise CheckpointError(
            f"{network} looks at {_INPUTS[theirs.input]} in {other.path} and at "
            f"{_INPUTS[ours.input]} in recipe {ours.name!r}; give the recipe that run's input."
        )


_INPUTS = {
    None: "film and lung map",
    "film": "the film alone",
    "masked": "the film inside the lungs, and the lung map",
}


def _write(run: Run, network: str, initial: Initial) -> None:
    if not is_first():
        return
    folder = run.folder(network)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.initial, json.dumps(asdict(initial), indent=2) + "\n")


def _describe(initial: Initial | None) -> str:
    if initial is None:
        return "without --init"
    frozen = ", features frozen" if initial.freeze else ""
    return f"from {initial.run} (checkpoint {initial.sha256[:12]}{frozen})"


def _say(network: str, init: Path, other: Run, run: Run, initial: Initial) -> None:
    parts = [f"{network} starts from {init}"]
    if initial.head == "new":
        there, here = (" against ".join(r.recipe.labels) for r in (other, run))
        parts.append(f"its head starts anew, as it told {there} there and learns {here} here")
    if initial.head == "kept":
        parts.append("its head comes along, as the labels are the same")
    if initial.freeze:
        parts.append("its features stay as they are")
    _logger.info("%s", "; ".join(parts))
