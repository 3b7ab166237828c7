"""The admission gate: chest films that it turns away, and foreign images that it lets through.

    python benchmarks/admission.py --manifest CSV [--manifest CSV] [--again]
    python benchmarks/admission.py --manifest CSV --write          # fits the shipped gate first

Thresholds are set on one half of the patients (and of the foreign pictures), everything is measured
on the other half. All images go in as pixels: headers are looked at in the tests. Preprocessing,
U-Net and resnet50 run in this process, on the graphs of the repository (a few minutes, kept under
build/benchmarks/admission; --again makes them anew). The result is written to
results/quality/admission.json.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from gate.fit import write_gate
from gate.material import Material, load_material
from gate.pasted import found_of_pasted
from measuring.hardware import describe
from measuring.record import RESULTS, write_result
from reports.tables import Table, print_table
from rich.console import Console

from cxrexport.admission import CODES, Reference, admission_flags, look
from cxrexport.admission.gate import chest_codes
from cxrexport.repository import REFERENCE, read_repository

QUALITY = RESULTS / "quality" / "admission.json"
FALSE_REJECTIONS = 0.02
LET_THROUGH = 0.05
GATE_MS = 5.0
REJECTS = tuple(code.code for code in CODES if code.action == "reject")


@dataclass(frozen=True)
class Share:
    """How many of how many, with the codes that they got."""

    kind: str
    images: int
    rejected: int
    codes: dict[str, int]

    @property
    def share(self) -> float:
        """Rejected, of all."""
        return self.rejected / self.images if self.images else 0.0


def judged(material: Material, reference: Reference) -> list[tuple[str, ...]]:
    """Give each image's rejecting and warning codes, in order, as the served step does."""
    found = []
    for number, picture in enumerate(material.pictures()):
        codes = set(chest_codes(look(picture), reference))
        if not reference.distance(material.embedding[number]) <= reference.farthest:
            codes.add("OUT_OF_DISTRIBUTION")
        if material.rectangle[number]:
            codes.add("RECTANGULAR_ARTEFACT")
        if material.writing[number]:
            codes.add("BURNED_IN_ANNOTATION")
        found.append(tuple(code.code for code in CODES if code.code in codes))
    return found


def shares(material: Material, codes: list[tuple[str, ...]], group: str, half: int) -> list[Share]:
    """Count one group by kind; the last one is all of them."""
    chosen = (material.group == group) & (material.half == half)
    kinds = {str(kind): chosen & (material.kind == kind) for kind in sorted({*material.kind})}
    return [
        _share(kind, [codes[number] for number in np.flatnonzero(where)])
        for kind, where in (*kinds.items(), ("all", chosen))
        if where.any()
    ]


def _share(kind: str, codes: list[tuple[str, ...]]) -> Share:
    rejected = [each for each in codes if any(code in REJECTS for code in each)]
    return Share(kind, len(codes), len(rejected), dict(Counter(c for e in codes for c in e)))


def gate_ms(size_px: int, reference: Reference, repeat: int = 40) -> float:
    """Give the median time of the whole step on one drawn film of this size."""
    import cv2

    cv2.setNumThreads(1)  # as served
    row, column = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]
    lungs = np.maximum.reduce(
        [np.exp(-(((column - at) / 0.22) ** 2) - (row / 0.5) ** 2) for at in (-0.4, 0.4)]
    ).astype(np.float32)
    grain = np.random.default_rng(0).normal(0, 0.03, lungs.shape)
    cxr = np.clip(0.8 - 0.6 * lungs + grain, 0, 1).astype(np.float32)
    embedding = reference.centres[0]
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        admission_flags((), cxr, lungs, embedding, reference)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def show(console: Console, title: str, found: list[Share], what: str) -> None:
    """Print one table."""
    rows = []
    for each in found:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(each.codes.items()))
        count = each.rejected if what == "turned away" else each.images - each.rejected
        share = f"{count} ({100 * count / each.images:.1f} %)"
        rows.append((each.kind, str(each.images), share, codes))
    print_table(console, Table(title, ("", "images", what, "codes"), rows))


def main(
    manifest: Annotated[list[Path], typer.Option(help="CSV of chest films; may be given again.")],
    repository: Annotated[Path, typer.Option(help="The model repository.")] = Path(
        "model_repository"
    ),
    not_for_fitting: Annotated[
        list[Path] | None,
        typer.Option(help="More films that are measured only (their licence, for example)."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Fit the weights and the reference, and keep them.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run the graphs anew.")] = False,
    output: Annotated[Path, typer.Option(help="The result.")] = QUALITY,
) -> None:
    """Print the tables; exit code 1 where a bar is missed."""
    console = Console(width=150)
    measured_only = not_for_fitting or []
    with console.status("films") as status:
        material = load_material(
            repository, [*manifest, *measured_only], again=again, advance=status.update
        )
    if write:
        write_gate(repository, material, manifest)
    reference = Reference.from_json((repository / REFERENCE).read_bytes())
    codes = judged(material, reference)
    films, foreign = (shares(material, codes, group, 1) for group in ("film", "foreign"))
    drawn = _share(
        "drawn films", [c for c, g in zip(codes, material.group, strict=True) if g == "phantom"]
    )
    show(console, "Chest films of the half that no threshold was set on", films, "turned away")
    show(console, "Foreign images of the half that no threshold was set on", foreign, "let through")
    show(console, "Drawn films (`cxrexport phantom`)", [drawn], "turned away")
    seen = found_of_pasted(manifest, read_repository(repository)[0].preprocessing)
    rows = [
        (what, f"{hits} of {number} ({100 * hits / number:.0f} %)")
        for what, (hits, number) in seen.items()
    ]
    title = "Rectangles and writing put on films"
    print_table(console, Table(title, ("on a chest film", "seen"), rows))
    times = {str(size): gate_ms(size, reference) for size in (320, 1024)}
    let_through = 1 - foreign[-1].share
    console.print(
        f"Chest films turned away: {films[-1].share:.2%} (bar {FALSE_REJECTIONS:.0%}); foreign "
        f"images let through: {let_through:.2%} (bar {LET_THROUGH:.0%}); the step takes "
        f"{times['320']:.1f} ms at 320 px, {times['1024']:.1f} ms at 1024 px (bar {GATE_MS:.0f})."
    )
    result: dict[str, Any] = {
        "machine": describe(),
        "model_digest": read_repository(repository)[2],
        "false_alarm_rate": reference.false_alarm_rate,
        "fitted_on_films": reference.films,
        "films": [asdict(each) for each in films],
        "foreign": [asdict(each) for each in foreign],
        "drawn": asdict(drawn),
        "pasted": {what: {"seen": hits, "of": number} for what, (hits, number) in seen.items()},
        "gate_ms": times,
    }
    write_result(output, result)
    if films[-1].share > FALSE_REJECTIONS or let_through > LET_THROUGH or drawn.rejected:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
