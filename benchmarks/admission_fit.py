"""Fits the shipped gate: the regression's weights, then the repository's reference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from admission_material import Material

from cxrexport.admission import chest as chest_module
from cxrexport.admission import fit_reference, look
from cxrexport.admission.chest import LIMIT, ChestWeights, vector
from cxrexport.admitting import write_reference
from cxrexport.manifest import read_manifest
from cxrexport.repository import read_repository

WEIGHTS = Path(chest_module.__file__).with_name("chest.json")
STRENGTH = 0.003
"""scikit-learn's C: so weak that no single cell decides (chosen by cross-validation in half 0)."""


def write_gate(repository: Path, material: Material, manifests: Sequence[Path]) -> None:
    """Write `chest.json` and the repository's reference, both from half 0 alone."""
    weights = fit_weights(material)
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
    names = {row.image.name for path in manifests for row in read_manifest(path)}
    chosen = np.flatnonzero(
        (material.group == "film") & (material.half == 0) & np.isin(material.name, sorted(names))
    )
    pictures = list(material.pictures())
    reference = fit_reference(
        [look(pictures[number]) for number in chosen],
        material.embedding[chosen],
        [str(material.patient[number]) for number in chosen],
        Counter(str(material.kind[number]) for number in chosen),
        read_repository(repository)[2],
    )
    write_reference(repository, reference)


def fit_weights(material: Material) -> ChestWeights:
    """Fit the regression on half 0: chest films and drawn ones against everything foreign."""
    from sklearn.linear_model import LogisticRegression

    values = np.array([vector(picture) for picture in material.pictures()])
    fitted = material.half == 0
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
