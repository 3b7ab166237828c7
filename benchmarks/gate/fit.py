"""Fits the shipped gate: the regression's weights, then the repository's reference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrexport.admission import chest as chest_module, fit_reference, look
from cxrexport.admission.chest import LIMIT, ChestWeights, vector
from cxrexport.evaluation.gate import write_reference
from cxrexport.manifest import read_manifest
from cxrexport.repository import read_repository
from gate.material import Material

WEIGHTS = Path(chest_module.__file__).with_name("chest.json")
STRENGTH = 0.003
"""scikit-learn's C: so weak that no single cell decides (chosen by cross-validation in half 0)."""


def write_gate(repository: Path, material: Material, manifests: Sequence[Path]) -> None:
    """Write `chest.json` and the repository's reference, both from half 0 alone."""
    rows = [row for path in manifests for row in read_manifest(path)]
    fitted = (material.half == 0) & _may_be_learnt_from(material, {row.image.name for row in rows})
    weights = fit_weights(material, fitted)
    told = {
        "origin": weights.origin,
        "intercept": round(weights.intercept, 4),
        **{
            name: [round(float(value), 4) for value in getattr(weights, name)]
            for name in ("mean", "spread", "weights")
        },
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in told.items()]
    WEIGHTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    chest_module.chest_weights.cache_clear()
    chosen = np.flatnonzero(fitted & (material.group == "film"))
    pictures = list(material.pictures())
    reference = fit_reference(
        [look(pictures[number]) for number in chosen],
        material.embedding[chosen],
        [str(material.patient[number]) for number in chosen],
        Counter(str(material.kind[number]) for number in chosen),
        read_repository(repository)[2],
    )
    write_reference(repository, reference)


def _may_be_learnt_from(material: Material, films: set[str]) -> npt.NDArray[np.bool_]:
    """Leave out films of manifests that are only measured on, and what was made from them."""
    patients = {
        str(patient)
        for patient, name in zip(material.patient, material.name, strict=True)
        if str(name) in films
    }
    of_a_film = {str(p) for p in material.patient[material.group == "film"]}
    return np.array([str(p) in patients or str(p) not in of_a_film for p in material.patient])


def fit_weights(material: Material, fitted: npt.NDArray[np.bool_]) -> ChestWeights:
    """Fit the regression to those images: chest films and drawn ones against everything foreign."""
    from sklearn.linear_model import LogisticRegression

    values = np.array([vector(picture) for picture in material.pictures()])
    films = fitted & (material.group == "film")
    mean, spread = values[films].mean(axis=0), values[films].std(axis=0)
    standard = np.clip((values - mean) / spread, -LIMIT, LIMIT)
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=5000)
    model.fit(standard[fitted], material.group[fitted] != "foreign")
    counts = Counter(str(group) for group in material.group[fitted])
    return ChestWeights(
        mean=mean,
        spread=spread,
        weights=model.coef_[0],
        intercept=float(model.intercept_[0]),
        origin=(
            f"benchmarks/admission.py --write: {counts['film']} chest films and "
            f"{counts['phantom']} drawn ones against {counts['foreign']} foreign images; mean and "
            "spread of the chest films"
        ),
    )
