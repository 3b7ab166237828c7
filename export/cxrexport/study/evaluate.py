"""The `evaluate` command: one trained set of networks on a manifest's films, to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from cxrclient.cli import bar_columns, console as terminal_console
from cxrexport.errors import CheckpointError, ManifestError, RecipeError
from cxrexport.evaluation.calibration.of_run import store_calibration
from cxrexport.evaluation.material import Material
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.evaluation.scoring import score
from cxrexport.evaluation.subject import Subject, subject_of_repository, subject_of_run
from cxrexport.manifest import FilmRow, raise_problems, scan_manifest
from cxrexport.manifest.films import check_films
from cxrexport.report.finish import finish
from cxrexport.training.films import Maps, mapped_films, mapped_lungs
from cxrexport.training.run import (
    NETWORKS,
    SPLITS,
    Run,
    films_learnt_from,
    given_lungs,
    initial_run,
    note_of_run,
    problems_of_learnt_films,
    splits_in_words,
    splits_of_runs,
)

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line says; see `cxrexport evaluate --help`."""

    manifest: Path
    output: Path
    run: Path | None
    repository: Path | None
    root: Path | None
    bootstrap: int
    before: Path | None


def run_evaluation(options: EvaluateOptions) -> None:
    """Evaluate, and write `metrics.json`, `figures/` and `report.html`.

    Raises:
        RecipeError: not exactly one of run and repository.
        ManifestError: films that cannot be judged, all problems at once.
        CheckpointError, RepositoryError: weights that are missing, damaged or foreign.
    """
    if (options.run is None) == (options.repository is None):
        raise RecipeError("Give either --run or --repository.")
    console = terminal_console(stderr=True)
    if options.run is not None:
        subject = subject_of_run(options.run)
    else:
        assert options.repository is not None  # noqa: S101  # the case above
        subject = subject_of_repository(options.repository)
    earlier_run = options.before or _initial_of(options.run, console)
    rows, of_run = _read(options, subject.labels, earlier_run, console)
    sides = _sides(rows)
    maps, _ = mapped_films(rows, subject.spec, options.output / "films", masks=False)
    evidence, lungs = _judge(subject, rows, sides, maps, options.output / "after", console)
    before = None
    if earlier_run is not None:
        earlier = _comparable(subject_of_run(earlier_run), subject, earlier_run)
        before, _ = _judge(earlier, rows, sides, maps, options.output / "before", console)
    material = Material(
        title=subject.name,
        evidence=evidence,
        spec=subject.spec,
        films=rows,
        maps=maps,
        lungs=(lungs,),
        recipe=subject.recipe,
        lungs_note=_lungs_note(options, rows, subject),
        facts=_facts(subject) | ({"splits": f"the run's own ({SPLITS})"} if of_run else {}),
        before=before,
        through_lungs=subject.through_lungs,
    )
    results = finish(
        material,
        options.output,
        console,
        threshold=subject.threshold,
        bootstrap=options.bootstrap,
        seed=0 if subject.recipe is None else subject.recipe.seed,
    )
    calibration = results.calibration.trials[0].calibration if results.calibration else None
    if options.run is not None and calibration is not None and calibration.members:
        path = store_calibration(options.run, calibration, subject.weights)
        console.print(f"{path}: `cxrexport build` serves its temperatures from now on.")


def _read(
    options: EvaluateOptions, labels: tuple[str, str], earlier: Path | None, console: Console
) -> tuple[tuple[FilmRow, ...], bool]:
    """Read the manifest and look into every film; without splits it takes the run's.

    Args:
        options: the command's.
        labels: negative and positive class.
        earlier: the run before fine-tuning.
        console: where the split is said.

    Returns:
        The films, and whether their splits are the run's.

    Raises:
        ManifestError: every problem of cells, films and splits at once.
    """
    rows, problems = scan_manifest(options.manifest, root=options.root, labels=labels)
    problems += check_films(rows, options.manifest)
    of_run = False
    if options.run is not None and not any(row.split for row in rows):
        rows, of_run = _with_splits_of_run(rows, options.run, earlier, console)
    there = [row for row in rows if row.image.is_file()]
    problems += problems_of_learnt_films(there, options.manifest, _learnt(options.run, earlier))
    raise_problems(problems)
    _require_both_classes([row for row in rows if row.split in (None, "test")], labels)
    return rows, of_run


def _with_splits_of_run(
    rows: tuple[FilmRow, ...], run: Path, earlier: Path | None, console: Console
) -> tuple[tuple[FilmRow, ...], bool]:
    """Give the films the run's sides, by patient; those that it never saw are test films."""
    known = splits_of_runs(rows, [Run.open(path) for path in (run, earlier) if path is not None])
    new = sum(row.split is None for row in known)
    if new == len(known):
        return rows, False
    rows = tuple(replace(row, split=row.split or "test") for row in known)
    others = (
        f", of which {new} are films that the run never saw; whose patients they are, it does not "
        "know"
        if new
        else ""
    )
    console.print(
        f"The manifest has no splits, so it takes those of {run / SPLITS}: "
        f"{splits_in_words(rows)}{others}."
    )
    return rows, True


def _learnt(*runs: Path | None) -> frozenset[str]:
    """Digests of the films that any network of these runs learnt from, as far as they say so."""
    each = [films_learnt_from(Run.open(run), NETWORKS) for run in runs if run is not None]
    return frozenset().union(*(films for films in each if films))


def _initial_of(run: Path | None, console: Console) -> Path | None:
    """The run that a fine-tuned one started from, if it is still there."""
    if run is None or (earlier := initial_run(now := Run.open(run))) is None:
        return None
    why = None
    if not earlier.is_dir():
        why = "is not there any more"
    elif Run.open(earlier).recipe.labels != now.recipe.labels:
        why = "tells other labels apart"
    if why is not None:
        console.print(f"{earlier} {why}, so there is no comparison with before.")
        return None
    return earlier


def _sides(rows: Sequence[FilmRow]) -> dict[str, list[int]]:
    """Positions by side; every film is a test film where the manifest has no splits."""
    stated = [row.split for row in rows]
    if not any(stated):
        return {"train": [], "validation": [], "test": list(range(len(rows)))}
    if missing := [row.row for row, split in zip(rows, stated, strict=True) if split is None]:
        raise ManifestError(
            f"{len(missing)} rows have no split, the first in line {missing[0]}; give every row "
            "one, or none and every film is a test film."
        )
    return {side: [i for i, split in enumerate(stated) if split == side] for side in SIDES}


def _require_both_classes(tested: Sequence[FilmRow], labels: tuple[str, str]) -> None:
    there = {row.label for row in tested}
    if missing := [label for label in labels if label not in there]:
        raise ManifestError(
            f"No test film is {' and none is '.join(missing)}; a judgement needs both classes."
        )


def _judge(
    subject: Subject,
    rows: tuple[FilmRow, ...],
    sides: dict[str, list[int]],
    maps: Maps,
    folder: Path,
    console: Console,
) -> tuple[Evidence, Maps | None]:
    lungs = None
    if subject.lungs is not None:
        console.print("Segmenting")
        lungs = mapped_lungs(maps, subject.lungs, subject.weights["segment"], folder / "lungs")
    with Progress(*bar_columns(), console=console) as progress:
        bar = progress.add_task("Scoring", total=len(rows))
        raw = score(
            subject.networks,
            maps,
            lungs,
            closely=sides["test"],
            advance=lambda films: progress.advance(bar, films),
        )

    def of(chosen: list[int]) -> Scores:
        return raw.of(rows, chosen, subject.labels, subject.networks.listed)

    def side(name: str) -> Scores | None:
        return of(sides[name]) if sides[name] else None

    test = of(sides["test"])
    trial = Trial(subject.name, side("train"), side("validation"), test)
    return Evidence(subject.labels, (trial,), folds=False), lungs


def _lungs_note(options: EvaluateOptions, rows: Sequence[FilmRow], subject: Subject) -> str | None:
    if options.run is not None:
        return note_of_run(Run.open(options.run), rows) if subject.lungs else None
    try:
        return given_lungs(str(options.repository)).note(rows, subject.spec.size_px)
    except CheckpointError:  # another package's lung network: nothing is known of it
        return None


def _comparable(earlier: Subject, subject: Subject, path: Path) -> Subject:
    if earlier.labels != subject.labels or earlier.spec != subject.spec:
        raise RecipeError(
            f"{path} has other labels or another preprocessing than the run; before and after "
            "can be compared only where both are the same."
        )
    return earlier


def _facts(subject: Subject) -> dict[str, str]:
    facts = {
        "model": subject.name,
        "preprocessing digest": subject.spec.digest,
        "image size": f"{subject.spec.size_px} px",
    }
    if subject.recipe is not None:
        facts["recipe digest"] = subject.recipe.digest
        facts["width of the networks"] = subject.recipe.described_width
    if subject.origins is not None:
        facts["starting weights"] = subject.origins
    return facts | {f"weights of {name}": value for name, value in subject.weights.items()}
