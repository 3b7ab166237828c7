"""What follows from the chunks that ensemble.py measured. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxrexport.repository import ADMISSION, PREPROCESS
from measuring.chunks import Chunk, chunk_record, interleaved_ratio, share_of_peak, summaries

Peaks = dict[str, dict[str, Any]]
LOOPS = {
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "eager_tuned": "eager-tuned",
}
"""As the result names them → as a chunk does."""


def outcome(facts: dict[str, Any], chunks: Sequence[Chunk], peaks: Peaks) -> dict[str, Any]:
    """All that is reported of a scenario.

    Args:
        facts: with `gmac_by_precision`: what it is served in → what it computes in → GMAC.
        chunks: in the order in which they were measured.
        peaks: precision → its `gmac_s`, None where there is none.
    """
    scenario = {**facts, "measurements": summaries(chunks), "ratios": ratios(chunks)}
    kept = [chunk_record(chunk) for chunk in chunks]
    return {**scenario, "shares": shares(scenario, peaks), "chunks": kept}


def shares(scenario: dict[str, Any], peaks: Peaks) -> list[dict[str, Any]]:
    """Share of the convolution peak: of a film's whole time, and of the graphs' time alone."""
    known = {precision: peak["gmac_s"] for precision, peak in peaks.items()}
    found = []
    for row in scenario["measurements"]:
        if row["alternative"] not in ("openvino", "triton"):
            continue
        gmac = scenario["gmac_by_precision"][row["precision"]]
        graphs_ms = sum(
            ms for name, ms in row["graph_ms"].items() if name not in (PREPROCESS, ADMISSION)
        )
        alone = share_of_peak(gmac, known, graphs_ms / 1e3) if graphs_ms else None
        whole = share_of_peak(gmac, known, 1 / row["films_s"])
        key = {name: row[name] for name in ("alternative", "precision", "concurrency")}
        found.append({**key, "whole": whole, "graphs": alone})
    return found


def ratios(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    """Each way to ask the server, beside what it is held against: OpenVINO in its own precision."""
    found = []
    for key in dict.fromkeys(chunk.key for chunk in chunks):
        alternative, precision, concurrency = key
        if alternative not in ("triton", "predict"):
            continue
        over = {
            name: interleaved_ratio(chunks, key, (loop, _precision_of(loop, precision), 1))
            for name, loop in LOOPS.items()
        }
        found.append(
            {
                "alternative": alternative,
                "precision": precision,
                "concurrency": concurrency,
                "over": over,
            }
        )
    return found


def _precision_of(loop: str, precision: str) -> str:
    return precision if loop == "openvino" else "f32"
