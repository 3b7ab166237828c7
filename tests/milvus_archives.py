"""Made-up films for archives on a real Milvus server."""

from __future__ import annotations

from typing import Any

import numpy as np

MODEL = "a" * 64
TOKEN = "root:Milvus"
FILMS = 1200
HOSTILE = [
    '" or 1==1 or label == "',
    "' OR '1'='1",
    '"] or id not in ["',
    "\\",
    '\\" or id != "',
    "a'b",
    "%",
    "É{x}*",
]


def vectors() -> np.ndarray:
    """Films of few places, so that many are at the same distance."""
    random = np.random.default_rng(3)
    spread = random.normal(size=(FILMS, 128)).astype(np.float32)
    spread[100:160] = spread[100]  # sixty at one place
    return spread


def about(number: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": ("covid", "non-covid", None)[number % 3],
        "label_source": ("metadata", "predicted")[number % 2],
        "probability": None if number % 7 == 0 else (number % 100) / 100,
        "patient_key": None if number % 11 == 0 else f"p{number // 3}",
        "view": ("AP", "PA")[number % 2],
        "days": float(number % 30),
        "treatment": "oxygen" if number % 5 else "none",
        "ventilated": number % 4 == 0,
        "study_uid": f"1.2.3.{number // 2}",
    }
    if number % 2:
        row["age"] = number % 90
    if number < len(HOSTILE):
        row |= {"label": HOSTILE[number], HOSTILE[number]: HOSTILE[number]}
    return row


QUERY = np.random.default_rng(9).normal(size=128).astype(np.float32)
