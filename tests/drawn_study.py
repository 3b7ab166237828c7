"""The recipe of a small study of drawn films, and what its command is given."""

from __future__ import annotations

RECIPE = {
    "name": "drawn",
    "negative": "non-covid",
    "positive": "covid",
    "preprocessing": {"size_px": 64},
    "width": 0.125,
    "seed": 3,
    "precision": "fp32",
    "segment": {
        "epochs": 3,
        "batch_size": 4,
        "optimizer": "adam",
        "learning_rate": 2.0e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 0.0,
    },
    "classify": {
        "epochs": 3,
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 1.0e-3,
        "learning_rate_decay": 0.9,
        "weight_decay": 1.0e-2,
    },
}
NETWORKS = "resnet34,resnet50"


def arguments(recipe, manifest, output, *more):
    names = ["--recipe", recipe, "--manifest", manifest, "--output", output]
    return ["study", *map(str, names), "--networks", NETWORKS, "--splits", "2", *more]
