"""All that can be said of a manifest: its problems, and the films that the study left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.files import TableFault
from cxrexport.admission.exclusions import Exclusion
from cxrexport.manifest.files import scan_manifest
from cxrexport.manifest.films import inspect_films, problems_of_films
from cxrexport.manifest.rows import FilmRow
from cxrexport.manifest.splits import check_splits


@dataclass(frozen=True)
class Review:
    """What was found in a manifest.

    Attributes:
        path: the manifest.
        rows: its films, as far as they are understood.
        problems: what must be mended, by line.
        exclusions: films that the study would have left out, each with every reason, by line.
        view_unknown: films of which neither manifest nor header says the view.
    """

    path: Path
    rows: tuple[FilmRow, ...]
    problems: tuple[TableFault, ...]
    exclusions: tuple[tuple[FilmRow, tuple[Exclusion, ...]], ...]
    view_unknown: int

    @property
    def kept(self) -> tuple[FilmRow, ...]:
        """The films without any reason to leave them out."""
        left_out = {row.row for row, _ in self.exclusions}
        return tuple(row for row in self.rows if row.row not in left_out)

    def reasons(self) -> dict[str, int]:
        """How many films each reason leaves out; a film with two reasons is counted in both."""
        codes = Counter(
            code for _, found in self.exclusions for code in sorted({e.code for e in found})
        )
        return dict(sorted(codes.items()))

    def to_json(self) -> dict[str, Any]:
        """Give plain numbers, strings, lists and dicts; films by line and file name."""
        return {
            "manifest": str(self.path),
            "films": len(self.rows),
            "view_unknown": self.view_unknown,
            "problems": [
                {"line": p.line, "column": p.column, "code": p.code, "what": p.what}
                for p in self.problems
            ],
            "exclusions": [
                {"line": row.row, "image": str(row.image), **_plain(exclusion)}
                for row, found in self.exclusions
                for exclusion in found
            ],
        }


def review_manifest(
    path: Path,
    *,
    root: Path | None = None,
    labels: Collection[str] | None = None,
    need_mask: bool = False,
    advance: Callable[[int], None] = lambda films: None,
) -> Review:
    """Look for every problem and every exclusion at once; each film is decoded once.

    Args:
        path: the manifest.
        root: folder that relative paths start from; the manifest's own folder by default.
        labels: the labels that may occur, and that every split must have; None allows any.
        need_mask: whether every film must have a lung mask.
        advance: called once a film with the number of all films, from several threads.
    """
    rows, problems = scan_manifest(path, root=root, labels=labels, need_mask=need_mask)
    facts = inspect_films(rows, exclusions=True, advance=lambda: advance(len(rows)))
    problems += problems_of_films(rows, facts, path)
    problems += check_splits(rows, path, labels)
    seen = [(row, fact) for row, fact in zip(rows, facts, strict=True) if fact is not None]
    return Review(
        path=path,
        rows=rows,
        problems=tuple(sorted(problems, key=lambda problem: problem.line)),
        exclusions=tuple((row, fact.exclusions) for row, fact in seen if fact.exclusions),
        view_unknown=sum(row.view is None and not fact.header_view for row, fact in seen),
    )


def _plain(exclusion: Exclusion) -> dict[str, Any]:
    box = None if exclusion.box is None else list(exclusion.box)
    return {"code": exclusion.code, "what": exclusion.what, "box": box}
