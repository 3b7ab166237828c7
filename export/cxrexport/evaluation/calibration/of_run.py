"""A run's calibration.json: what was fitted, bound to its weights, and what is served of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrclient.files import parse_json, write_whole
from cxrexport.errors import CheckpointError
from cxrexport.evaluation.calibration.fitted import Calibration
from cxrexport.repository import ServedCalibration, ServedPoint
from cxrexport.training.run import weights_digest

if TYPE_CHECKING:
    from cxrexport.training.run import Run


def calibration_path(folder: Path) -> Path:
    """Where a run's folder keeps its calibration."""
    return folder / "calibration.json"


def store_calibration(folder: Path, calibration: Calibration, weights: Mapping[str, str]) -> Path:
    """Write what was fitted, bound to the weights that were scored for it.

    Args:
        folder: the run's.
        calibration: from `fit_calibration`.
        weights: network → `weights_digest` of its checkpoint as it was when its films were scored
            (`Subject.weights`): the members' at least, and the lung network's (`segment`) if they
            look at its maps.

    Returns:
        The file.

    Raises:
        ValueError: a member's digest is missing.
        OSError: the file cannot be written.
    """
    if lacking := [name for name in calibration.members if name not in weights]:
        raise ValueError(f"no digest of the weights of {', '.join(lacking)}")
    bound = {k: v for k, v in weights.items() if k in ("segment", *calibration.members)}
    content = {"bound_to": bound, "calibration": json.loads(calibration.to_json())}
    path = calibration_path(folder)
    write_whole(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
    return path


def load_calibration(run: Run) -> Calibration | None:
    """Read a run's calibration, if it has one.

    Raises:
        CheckpointError: it cannot be read, or it was fitted on other weights, labels or members
            than the run has now.
    """
    path = calibration_path(run.path)
    if not path.is_file():
        return None
    bound, stored = _read(path)
    try:
        calibration = Calibration.from_json(json.dumps(stored))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}") from error
    wanted = {*bound, *calibration.members}
    now = _digests(run, wanted)
    others = sorted(name for name in wanted if bound.get(name) != now.get(name))
    if others:
        raise CheckpointError(
            f"{path} was fitted on other weights of {', '.join(others)} than {run.path} has; "
            f"run `cxrexport evaluate --run {run.path}` again, or delete the file to build "
            "without a calibration."
        )
    if calibration.labels != run.recipe.labels:
        raise CheckpointError(
            f"{path} is for {' and '.join(calibration.labels)}, the run for "
            f"{' and '.join(run.recipe.labels)}; run `cxrexport evaluate` again."
        )
    return calibration


def served_calibration(
    calibration: Calibration, members: Sequence[str], point: str | None = None
) -> ServedCalibration:
    """Choose what is served of a calibration.

    Args:
        calibration: of a run.
        members: that are served, in their order.
        point: name of the operating point whose threshold is served, spelt freely
            (`sensitivity95` is "sensitivity 95 %"); None serves 0.5.

    Raises:
        CheckpointError: it has no such point, or is of other networks than those that are served.
    """
    if set(calibration.members) != set(members):
        raise CheckpointError(
            f"The calibration is of {', '.join(calibration.members) or 'no ensemble'}; served are "
            f"{', '.join(members)}. Train them all and run `cxrexport evaluate` again."
        )
    points = tuple(
        ServedPoint(p.name, p.threshold, p.rule, p.target, p.reason)
        for p in calibration.operating_points
    )
    names = [p.name for p in points]
    chosen = [name for name in names if point is not None and _spelt(name) == _spelt(point)]
    if point is not None and not chosen:
        known = ", ".join(f'"{name}"' for name in names) or "none"
        raise CheckpointError(f"There is no operating point {point!r}; the run has {known}.")
    return ServedCalibration(
        temperatures=tuple(calibration.in_ensemble[name] for name in members),
        points=points,
        point=chosen[0] if chosen else None,
        fitted_on=calibration.fitted_on,
        films=calibration.films,
        positives=calibration.positives,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        content = parse_json(path.read_bytes())
        bound, calibration = content["bound_to"], content["calibration"]
        if not isinstance(bound, dict) or not isinstance(calibration, dict):
            raise TypeError("bound_to and calibration are not two objects")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say what was fitted on which weights ({type(error).__name__}: "
            f"{error}); run `cxrexport evaluate` again."
        ) from error
    return bound, calibration


def _digests(run: Run, networks: Iterable[str]) -> dict[str, str]:
    """Network → digest of the weights that the run has now; those that are there."""
    from safetensors import SafetensorError

    digests = {}
    for network in networks:
        path = run.folder(network).checkpoint
        if path.is_file():
            try:
                digests[network] = weights_digest(path)
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is damaged ({error}); train it again.") from error
    return digests


def _spelt(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
