"""The whole path once: a real chest film, real Triton servers, and its nearest films.

`make quickstart` runs this. It uses what any program of yours could use: the client's SDK, and the
phantoms that stand in for an archive of films here.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pydicom.data import get_testdata_file
from rich.console import Console
from rich.table import Table

from cxrclient import CxrClient, CxrClientError, EmbeddedServer, FilmError, SimilarityIndex
from cxrclient.archive import Neighbour, import_lightly, load_patient_key, patient_key
from cxrclient.pages import PageFilm, thumbnail, write_page
from cxrclient.wire import EnsembleInfo, Prediction
from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms

REAL_FILM = "RG1_UNCR.dcm"
"""A chest film from the PyPI package pydicom-data."""
SKILLED = "tb"
"""A repository that ships and has shown skill; it judges the real film as well."""
DRAWN_FILMS = 24
NEIGHBOURS = 4
NOTE = (
    "The films in this archive are drawings. The neighbours only show how the search works, not "
    "which films are alike."
)
talk = Console(stderr=True, highlight=False)


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).resolve().parents[1]
    arguments.add_argument("--output", type=Path, default=here / "quickstart")
    arguments.add_argument(
        "--model-repository",
        help=f"a folder, or a name that ships, to judge alone; by default starter, and {SKILLED}",
    )
    options = arguments.parse_args()
    started = time.monotonic()
    import_lightly()
    try:
        page = quickstart(options.output, options.model_repository)
    except (CxrClientError, OSError) as error:
        talk.print(str(error), style="red", markup=False)
        return 1
    talk.print(f"Done in {time.monotonic() - started:.0f} s. Open the page in a browser:")
    print(page)  # noqa: T201  # the one line of data, alone on stdout after the table
    return 0


def quickstart(folder: Path, repository: str | None = None) -> Path:
    """Predict, index, search, write the page; returns its path."""
    talk.print(f"Drawing {DRAWN_FILMS} films ...")
    drawing = ThreadPoolExecutor(1).submit(  # one core draws while servers start
        write_phantoms, DRAWN_FILMS, folder / "films", seed=1, size_px=768, letters=False
    )
    judged = None if repository else _judge_by(SKILLED)
    talk.print("Starting a Triton server with the ensemble on the CPU ...")
    with EmbeddedServer(repository, device="cpu") as server, CxrClient(server.grpc_address) as cxr:
        talk.print(f"Predicting a real film and {DRAWN_FILMS} drawn ones ...")
        (real,) = _predict(cxr, [_real_film()])
        drawn = read_manifest(drawing.result())
        gallery = _predict(cxr, [row.image for row in drawn])
        model = cxr.model

    talk.print("Putting the drawn films into Milvus Lite, and finding the nearest ...")
    archive = folder / "cxr.db"
    archive.unlink(missing_ok=True)
    key = load_patient_key({"CXR_PATIENT_KEY_FILE": str(folder / "patient.key")})
    with SimilarityIndex(archive, model_digest=model.digest) as index:
        index.add(
            [film.film_id for film in gallery],
            [film.embedding for film in gallery],
            [
                {
                    "label": row.label,
                    "label_source": "metadata",
                    "probability": film.probability,
                    "patient_key": patient_key(row.patient_id, key),
                    "view": row.view,
                }
                for film, row in zip(gallery, drawn, strict=True)
            ],
        )
        nearest = index.search(real.embedding, NEIGHBOURS)

    pictures = {film.film_id: thumbnail(film) for film in gallery}
    film = PageFilm(real, nearest, pictures)
    if judged is not None:
        film = replace(judged, also=[replace(film, model=model)])
    page = folder / "index.html"
    title = "A real chest film and the drawn films nearest to it"
    write_page(page, [film], model, title=title, note=NOTE)
    if judged is not None:
        _print_table(judged.prediction, [], judged.model or model)
    _print_table(real, nearest, model)
    return page


def _judge_by(repository: str) -> PageFilm:
    talk.print(f"Starting a server with the networks of {repository} ...")
    with EmbeddedServer(repository, device="cpu") as server, CxrClient(server.grpc_address) as cxr:
        (film,) = _predict(cxr, [_real_film()])
        return PageFilm(film, model=cxr.model)


def _real_film() -> Path:
    path = get_testdata_file(REAL_FILM, download=False)
    if path is None:
        raise CxrClientError(f"{REAL_FILM} is missing. Run: pip install pydicom-data==1.0.0")
    return Path(str(path))


def _predict(cxr: CxrClient, films: list[Path]) -> list[Prediction]:
    """All or nothing: here each film must have a prediction."""
    predictions = []
    for outcome in cxr.predict_many(films, maps=True):
        if isinstance(outcome, FilmError):
            raise CxrClientError(f"{outcome.path}: {outcome}")
        predictions.append(outcome)
    return predictions


def _print_table(film: Prediction, nearest: list[Neighbour], model: EnsembleInfo) -> None:
    said = f"{model.notice}\n{NOTE}" if nearest else model.notice
    table = Table(show_lines=True)
    table.add_column("film", no_wrap=True)
    for name in (f"p({model.labels[1]})", "votes", "lungs"):
        table.add_column(name, justify="right", no_wrap=True)
    if nearest:
        for name in ("nearest drawn films", "distance", f"p({model.labels[1]})"):
            table.add_column(name, justify="left" if name.startswith("near") else "right")
    row = [
        Path(film.path or "").name,
        f"{film.probability:.3f}",
        f"{film.votes}/{len(film.members)}",
        f"{film.lung_fraction:.0%}",
    ]
    if nearest:
        row.append("\n".join(f"{n.label} {n.id[-8:]}" for n in nearest))
        row.append("\n".join(f"{n.distance:.2f}" for n in nearest))
        row.append("\n".join(f"{n.probability:.3f}" for n in nearest))
    table.add_row(*row)
    width = None if sys.stdout.isatty() else 110
    console = Console(width=width, highlight=False, emoji=False)
    console.print(table)
    console.print(said, style="italic", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
