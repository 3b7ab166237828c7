"""The result of gpu.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import NONE, Table, digits, percent


def gpu_tables(result: dict[str, Any]) -> list[Table]:
    """Every way and batch, with the device and its peaks below."""
    rows = []
    for row in result["rows"]:
        if "failed" in row:
            rows.append((row["mode"], str(row.get("batch", NONE)), *[NONE] * 8, row["failed"]))
            continue
        rows.append(
            (
                row["mode"],
                str(row["batch"]),
                digits(row["films_s"]),
                digits(1e3 * row["median_s"] / row["batch"]),
                digits(row["tmac_s"]),
                percent(row["share_of_peak"]),
                digits(row["peak_mb"]),
                *(_likeness(row) if "difference" in row else [NONE] * 3),
                "" if row["finite"] else "not finite",
            )
        )
    machine = result["machine"]
    peaks = ", ".join(f"{name} {digits(peak)}" for name, peak in result["peaks_tmac_s"].items())
    notes = [
        f"{machine['device']}, torch {machine['versions'].get('torch', NONE)}, CUDA "
        f"{machine['cuda'] or 'none'}; commit {machine['commit']}, {machine['date'][:10]}.",
        f"{digits(result['gmac'], 4)} GMAC a film. Measured peaks, TMAC/s: {peaks}.",
        "Likeness: noise, random weights, which exaggerate rounding; trained ones: docs/adr/0013.",
    ]
    columns = ("way", "batch", "films/s", "ms a film", "TMAC/s", "share of peak", "peak MB")
    more = ("|Δp| to eager fp32", "embedding, cosine", "lung map, cosine", "remarks")
    title = f"{result['size_px']} px, width {result['width']:g}, no server"
    return [Table(title, (*columns, *more), rows, notes)]


def _likeness(row: dict[str, Any]) -> tuple[str, str, str]:
    cosines = (f"{row[name]:.5f}" for name in ("embedding_cosine", "lungs_cosine"))
    return (f"{row['difference']:.1e}", *cosines)
