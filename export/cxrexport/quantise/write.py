"""`cxrexport quantise`: quantise, judge, and put into the repository: whole, or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrclient.files import sha256_of, take_place, write_whole
from cxrexport.ensemble import AVERAGE, SEGMENT, Arrays, Ensemble, OpenvinoGraphs
from cxrexport.errors import QuantisationError, RepositoryError
from cxrexport.manifest.preprocessed import preprocessed
from cxrexport.quantise.accuracy import LARGEST_AUC_FALL, Accuracy, Judgement, compare
from cxrexport.quantise.films import Chosen, choose_films, digest_of_files
from cxrexport.quantise.graphs import Feed, method, quantise_graph, require_nncf
from cxrexport.repository import (
    RepositorySpec,
    check_repository,
    graph_files,
    graph_hashes,
    model_digest,
    read_repository,
    write_repository,
)
from cxrexport.repository.quantised import INT8_GRAPH, Quantised, int8_files, withdraw

REPORT = "quantisation.json"
"""At the repository's root, beside `repository.json`: the whole comparison."""

Advance = Callable[[str, int], None]
"""Called with what is under way and how much of it there is, once for each part of it done."""


@dataclass(frozen=True)
class Quantisation:
    """What `quantise_repository` made.

    Attributes:
        record: as it stands in the repository.
        accuracy: the whole comparison.
    """

    record: Quantised
    accuracy: Accuracy


def quantise_repository(
    repository: Path,
    manifest: Path,
    *,
    films: int = 300,
    output: Path | None = None,
    accept_unjudged: bool = False,
    advance: Advance = lambda what, total: None,
) -> Quantisation:
    """Add int8 graphs to a repository, if they judge films as the graphs do that are there.

    Args:
        repository: the model repository; whole.
        manifest: films with labels; those of the train split calibrate, the others judge.
        films: calibration films; fewer where the train split has fewer.
        output: write a copy of the repository with the int8 variant there, and leave the
            repository alone; a folder that does not exist, or is empty.
        accept_unjudged: take the int8 variant also where the films to judge on are of one class.
        advance: progress.

    Raises:
        QuantisationError: the AUC falls by more than 0.005 (the error's `accuracy` says how much
            else), it cannot be judged, or the result cannot be written. Nothing is changed.
        RepositoryError: the repository is not whole.
        ManifestError: the manifest cannot be read, or lacks films.
        FilmError: a film cannot be preprocessed.
    """
    require_nncf()
    spec = _require_whole(repository)
    target = repository if output is None else _require_free(output)
    chosen = choose_films(manifest, spec.labels, films)
    if not accept_unjudged:
        _require_both_classes(chosen, spec)
    with _written_beside(target) as beside:
        graphs = graph_files(repository, spec)
        segment = Ensemble(OpenvinoGraphs({SEGMENT: graphs[SEGMENT]}), spec.members)
        feeds = _Feeds(segment, chosen, spec, partial(advance, "calibration films"))
        quantised = dict(graphs)
        # The U-Net stays as it is: its maps, which people look at, drift in int8 (a Dice of 0.956
        # with its own f32 maps in the worst film), and its instance normalisations would stay in
        # f32 anyway (docs/adr/0013).
        for graph in spec.members:
            quantised[graph] = beside / graph / "1" / INT8_GRAPH
            quantised[graph].parent.mkdir(parents=True)
            quantise_graph(graphs[graph], quantised[graph], feeds)
            advance("graphs", len(spec.members))
        del feeds
        accuracy = _judge(segment, graphs, quantised, chosen, spec, advance)
        _require_accurate(accuracy, accept_unjudged)
        record = _record(beside, repository, spec, chosen, accuracy)
        report = {**dataclasses.asdict(record), "accuracy": dataclasses.asdict(accuracy)}
        write_whole(beside / REPORT, json.dumps(report, indent=2) + "\n")
        new = dataclasses.replace(spec, quantised=record)
        if output is None:
            _place(beside, repository, new)
        else:
            copy = beside / "repository"
            built_here = shutil.ignore_patterns("*.plan", "engine.json", "*.part")
            shutil.copytree(repository, copy, ignore=built_here)
            _place(beside, copy, new)
            take_place(copy, output)
    return Quantisation(record, accuracy)


class _Feeds(Sequence[Feed]):
    """Calibration films with their lung maps, a quarter of the memory that float32 would take."""

    def __init__(
        self,
        segment: Ensemble,
        chosen: Chosen,
        spec: RepositorySpec,
        advance: Callable[[int], None],
    ) -> None:
        self._films: list[npt.NDArray[np.uint8]] = []
        self._lungs: list[npt.NDArray[np.float16]] = []
        rows = chosen.calibration
        done = partial(advance, len(rows))
        for film in preprocessed(rows, spec.preprocessing, done):
            # CLAHE leaves 8 bits, so nothing is lost.
            self._films.append(np.rint(film * 255).astype(np.uint8))
            self._lungs.append(segment.lungs(film).astype(np.float16))

    def __len__(self) -> int:
        return len(self._films)

    def __getitem__(self, place: int) -> Feed:  # type: ignore[override]  # no slices are asked for
        film = self._films[place].astype(np.float32) / 255
        return {"CXR": film, "LUNGS": self._lungs[place].astype(np.float32)}


def _require_whole(repository: Path) -> RepositorySpec:
    spec, _, _ = read_repository(repository)
    problems = check_repository(repository, open_graphs=False)
    # An int8 variant of before is mended by the new one, and engines play no part.
    problems = [p for p in problems if "int8" not in p.file and not p.file.endswith(".plan")]
    if problems:
        raise RepositoryError(
            f"{repository}: {problems[0].file} {problems[0].what}; `cxrexport check` lists all"
        )
    return spec


def _require_free(output: Path) -> Path:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise QuantisationError(f"{output} is there already; name a folder that is not")
    return output


def _require_both_classes(chosen: Chosen, spec: RepositorySpec) -> None:
    labels = {row.label for row in chosen.judged}
    if len(labels) < 2:
        raise QuantisationError(
            f"all {len(chosen.judged)} films of the test and validation splits are "
            f"{labels.pop()!r}, so nothing tells whether int8 separates {spec.labels[0]!r} from "
            f"{spec.labels[1]!r} as well; add films of the other class, or pass --accept-unjudged"
        )


def _require_accurate(accuracy: Accuracy, accept_unjudged: bool) -> None:
    fall = accuracy.auc_fall
    if fall is None and accept_unjudged:
        return
    # Written this way round, a NaN is refused.
    if fall is None or not fall <= LARGEST_AUC_FALL:
        raise QuantisationError(
            f"int8 lowers the AUC from {accuracy.auc_f32:.4f} to {accuracy.auc_int8:.4f}, by more "
            f"than {LARGEST_AUC_FALL}; nothing was written. Give more calibration films, or serve "
            "in f32 or bf16",
            accuracy,
        )


def _judge(
    segment: Ensemble,
    graphs: dict[str, Path],
    quantised: dict[str, Path],
    chosen: Chosen,
    spec: RepositorySpec,
    advance: Advance,
) -> Accuracy:
    """Run both variants on the held-out films, each on the one lung map."""
    behind = (*spec.members, AVERAGE)
    f32, int8 = (
        Ensemble(OpenvinoGraphs({name: files[name] for name in behind}), spec.members)
        for files in (graphs, quantised)
    )
    total = len(chosen.judged)
    outputs: list[tuple[Arrays, Arrays]] = []
    films = preprocessed(chosen.judged, spec.preprocessing, partial(advance, "judged films", total))
    for film in films:
        lungs = segment.lungs(film)
        outputs.append((_kept(f32.judge(film, lungs)), _kept(int8.judge(film, lungs))))
    positive = [row.label == spec.labels[1] for row in chosen.judged]
    ours, theirs = zip(*outputs, strict=True)
    return compare(_judgement(ours), _judgement(theirs), positive, spec.threshold, spec.members)


def _kept(said: Arrays) -> Arrays:
    """Leave out the lung map: of hundreds of films it would fill the memory."""
    return {name: value for name, value in said.items() if name != "LUNGS"}


def _judgement(outputs: Iterable[Arrays]) -> Judgement:
    films = list(outputs)
    joined = {key: np.concatenate([film[key] for film in films]) for key in films[0]}
    return Judgement(
        joined["PROBABILITY"][:, 0], joined["MEMBERS"], joined["EMBEDDING"], joined["HEATMAP"]
    )


def _record(
    beside: Path, repository: Path, spec: RepositorySpec, chosen: Chosen, accuracy: Accuracy
) -> Quantised:
    files = [name for graph in spec.members for name in int8_files(graph)]
    digests = {name: sha256_of(beside / name) for name in files}
    return Quantised(
        files=digests,
        model_digest=model_digest(graph_hashes(repository, spec), spec),
        method=method(),
        calibration_films=len(chosen.calibration),
        calibration_digest=digest_of_files(chosen.calibration),
        judged_films=accuracy.films,
        judged_positives=accuracy.positives,
        auc_f32=accuracy.auc_f32,
        auc_int8=accuracy.auc_int8,
        largest_difference=accuracy.largest_difference,
        mean_difference=accuracy.mean_difference,
        labels_changed=accuracy.labels_changed,
    )


@contextmanager
def _written_beside(target: Path) -> Iterator[Path]:
    """Give a folder on the target's disk, gone afterwards; what the disk refuses is one error."""
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        parent = target.absolute().parent
        with tempfile.TemporaryDirectory(dir=parent, prefix=".quantising-") as folder:
            yield Path(folder)
    except OSError as error:
        raise QuantisationError(
            f"{target} cannot be written ({error.strerror or error}); make room, or name another "
            "place with --output"
        ) from error


def _place(beside: Path, repository: Path, spec: RepositorySpec) -> None:
    """Move the files into their places, so that what is served is whole at every moment.

    Configurations go first and come last: a server takes int8 only where all are there.
    """
    withdraw(repository)
    assert spec.quantised is not None  # noqa: S101  # the caller's contract
    for name in (*spec.quantised.files, REPORT):
        take_place(beside / name, repository / name)
    write_repository(spec, repository)
