"""The page around its films: head, overview, guide, foot; and each film in its place."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING

from cxrclient.archive import Neighbour
from cxrclient.errors import CxrClientError, FilmError
from cxrclient.files import sha256_of
from cxrclient.pages.film_section import film_article, judged, research_use
from cxrclient.pages.guide import Guide
from cxrclient.pages.neighbours import neighbours_section, without_neighbours
from cxrclient.pages.overview import Overview
from cxrclient.pages.pictures import colour_scale
from cxrclient.pages.words import score_name
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

MARK = '<meta name="generator" content="cxrclient'
"""What a page of ours has in its first lines."""


@dataclass(frozen=True)
class PageFilm:
    """One film of the page.

    Attributes:
        prediction: made with `maps=True`.
        neighbours: the nearest films, ascending distance; None where none were asked for, and a
            sentence where they could not be had.
        pictures: film id of a neighbour → its `thumbnail`, or a sentence why there is none.
        model: whose prediction it is, where a page has more than one; the page's own by default.
        also: the same film judged by other models, each with its `model`.
    """

    prediction: Prediction
    neighbours: Sequence[Neighbour] | str | None = None
    pictures: Mapping[str, Image.Image | str] = field(default_factory=dict)
    model: EnsembleInfo | None = None
    also: Sequence[PageFilm] = ()


@dataclass(frozen=True)
class Counts:
    """How many films of a page have a result, were turned away (`rejected`), or failed."""

    ok: int
    rejected: int
    failed: int


@dataclass
class Page:
    """The page's frame, and what it keeps of each film for what stands before the films."""

    model: EnsembleInfo
    title: str
    note: str | None
    names: bool
    made: datetime | None
    films: int = 0
    overview: Overview = field(default_factory=Overview)
    guide: Guide = field(default_factory=Guide)
    fates: Counter[str] = field(default_factory=Counter)
    models: dict[str, EnsembleInfo] = field(default_factory=dict)
    remark: str = ""

    @property
    def counts(self) -> Counts:
        """How many of the films ended how."""
        return Counts(self.fates["ok"], self.fates["rejected"], self.fates["failed"])

    @property
    def _judges(self) -> list[EnsembleInfo]:
        """The models whose predictions the page shows."""
        return list(self.models.values()) or [self.model]

    def cut_short(self, error: BaseException) -> None:
        """Say that films are missing, and why."""
        why = str(error) if isinstance(error, CxrClientError) else "it was interrupted"
        self.remark = f"This page is not complete: after film {self.films}, {why}"

    def article(self, film: PageFilm | FilmError) -> str:
        """Take note of the next film, and give its part of the page; nothing without a result."""
        self.films += 1
        path = film.path if isinstance(film, FilmError) else film.prediction.path
        name = PurePath(path).name if path and self.names else ""
        heading = f"Film {self.films}: {name}" if name else f"Film {self.films}"
        if isinstance(film, FilmError):
            self.fates[film.status] += 1
            self.overview.add_failure(self.films, heading, film, _without_path(film, name))
            return ""
        self.fates["ok"] += 1
        several = film.model is not None
        if several and not film.also:
            heading = f"{heading}, judged by {self._model_of(film).name}"
        judges = [(each.prediction, self._model_of(each)) for each in (film, *film.also)]
        if several:
            self.models |= {model.digest: model for _, model in judges}
        self.overview.add(self.films, heading, judges, several=several)
        remarks = self.guide.add(judges)
        parts = [self._judged(film, first=True, several=bool(film.also))]
        parts += [self._judged(each, first=False, several=True) for each in film.also]
        return film_article(self.films, heading, parts, remarks)

    def _model_of(self, film: PageFilm) -> EnsembleInfo:
        return film.model or self.model

    def _judged(self, film: PageFilm, *, first: bool, several: bool) -> str:
        model = self._model_of(film)
        by = f" by {model.name}" if several else ""
        name = f"Film {self.films}{by}"
        near = self._neighbours(film, model)
        return judged(film.prediction, name, model, by, near, with_film=first)

    def _neighbours(self, film: PageFilm, model: EnsembleInfo) -> str:
        if film.neighbours is None:
            return ""
        if isinstance(film.neighbours, str):
            return without_neighbours(self.films, film.neighbours)
        self.guide.near = True
        return neighbours_section(
            film.prediction, film.neighbours, film.pictures, self.films, model
        )

    def before(self) -> Iterator[str]:
        """All that stands before the films, in parts."""
        style = f"{_style()}{self.overview.style()}"
        allowed = base64.b64encode(bytes.fromhex(sha256_of(style))).decode()
        yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{MARK} {_version()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'">
<title>{escape(self.title)}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#films">Skip to the films</a>
<header>
<h1>{escape(self.title)}</h1>
{research_use(self._judges)}
{f'<p class="warning" role="note">{escape(self.remark)}</p>' if self.remark else ""}
</header>
"""
        if self.films > 1 and self.fates["ok"]:
            score = "score" if self.models else score_name(self.model)
            yield from self.overview.table(self._counted(), score)
        yield self.overview.without_result()
        if self.fates["ok"]:
            yield self.guide.html(self._judges, self.note)
        yield '\n<main id="films" tabindex="-1">\n'

    def after(self) -> str:
        """All that stands after the films."""
        made = (self.made or datetime.now(UTC)).astimezone(UTC)
        models = self._judges
        sizes = " or ".join(str(size) for size in sorted({each.image_size_px for each in models}))
        used = "\n".join(
            f"Model {escape(each.name)}, digest <code>{escape(each.digest)}</code>. Preprocessing "
            f"digest\n<code>{escape(each.preprocessing_digest)}</code>."
            for each in models
        )
        return f"""</main>
<footer>
<p>Films are shown as the networks saw them: cropped, padded to a square of {sizes}
pixels, local contrast equalised, then made smaller and compressed. They are not for diagnosis. Left
and right are as stored.</p>
<p>{used} Made by cxrclient {escape(_version())} on
<time datetime="{made:%Y-%m-%dT%H:%MZ}">{made:%Y-%m-%d at %H:%M} UTC</time>.</p>
</footer>
</body>
</html>
"""

    def _counted(self) -> str:
        counts = self.counts
        total = f"{self.films} films" if self.films != 1 else "One film"
        fates = [f"{counts.ok} with a result"]
        fates += [f"{counts.rejected} turned away"] * bool(counts.rejected)
        fates += [f"{counts.failed} failed"] * bool(counts.failed)
        return f"{total}: {', '.join(fates)}"


def _without_path(error: FilmError, name: str) -> str:
    """The error's sentence; the folders of a film belong on no page that is passed on."""
    if not error.path:
        return error.message
    return error.message.replace(error.path, name or "the file")


def _style() -> str:
    style = files("cxrclient.pages").joinpath("page.css").read_text(encoding="utf-8")
    return style.replace("HEAT_STOPS", colour_scale())


def _version() -> str:
    try:
        return version("cxr-triton")
    except PackageNotFoundError:
        return "of a checkout"
