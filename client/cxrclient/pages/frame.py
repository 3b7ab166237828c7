"""The page around its films: head, overview, foot; and each film in its place."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
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
from cxrclient.pages.film_section import code_html, failure_article, film_article, research_use
from cxrclient.pages.neighbours import neighbours_section, without_neighbours
from cxrclient.pages.pictures import colour_scale
from cxrclient.pages.words import score_name, shown
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
    """

    prediction: Prediction
    neighbours: Sequence[Neighbour] | str | None = None
    pictures: Mapping[str, Image.Image | str] = field(default_factory=dict)
    model: EnsembleInfo | None = None


@dataclass(frozen=True)
class Counts:
    """How many films of a page have a result, were turned away (`rejected`), or failed."""

    ok: int
    rejected: int
    failed: int


@dataclass
class Page:
    """The page's frame, and the line of each film in its overview."""

    model: EnsembleInfo
    title: str
    note: str | None
    names: bool
    made: datetime | None
    rows: list[str] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    models: dict[str, EnsembleInfo] = field(default_factory=dict)
    remark: str = ""

    @property
    def films(self) -> int:
        """How many are on the page."""
        return len(self.rows)

    @property
    def counts(self) -> Counts:
        """How many of them ended how."""
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
        """Take note of the next film, and give its part of the page."""
        number = len(self.rows) + 1
        path = film.path if isinstance(film, FilmError) else film.prediction.path
        name = PurePath(path).name if path and self.names else ""
        heading = f"Film {number}: {name}" if name else f"Film {number}"
        if isinstance(film, FilmError):
            text = failure_article(film, _without_path(film, name), number, heading)
            fate = "turned away" if film.status == "rejected" else "failed"
            self._row(number, heading, fate, "", [film.code])
            self.fates[film.status] += 1
            return text
        seen, model = film.prediction, film.model or self.model
        score = shown(seen.probability, model.threshold)
        if film.model is not None:
            self.models[model.digest] = model
            heading = f"{heading}, judged by {model.name}"
            score = f"{score_name(model)}: {score}"
        near = self._neighbours(film, number)
        text = film_article(seen, number, heading, model, near)
        self._row(number, heading, seen.label, score, seen.warnings)
        self.fates["ok"] += 1
        return text

    def _neighbours(self, film: PageFilm, number: int) -> str:
        if film.neighbours is None:
            return ""
        if isinstance(film.neighbours, str):
            return without_neighbours(number, film.neighbours)
        return neighbours_section(
            film.prediction,
            film.neighbours,
            film.pictures,
            number,
            film.model or self.model,
            self.note,
        )

    def _row(
        self, number: int, heading: str, result: str, score: str, remarks: Sequence[str]
    ) -> None:
        codes = "".join(f" {code_html(code)}" for code in remarks)
        self.rows.append(
            f'<tr><th scope="row"><a href="#film-{number}">{escape(heading)}</a></th>'
            f"<td>{escape(result)}{codes}</td>"
            f'<td class="number">{escape(score) or "none"}</td></tr>'
        )

    def before(self) -> str:
        """All that stands before the films."""
        style = _style()
        allowed = base64.b64encode(bytes.fromhex(sha256_of(style))).decode()
        return f"""<!DOCTYPE html>
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
{"".join(research_use(each) for each in self._judges) if self.films != 1 else ""}
{f'<p class="warning" role="note">{escape(self.remark)}</p>' if self.remark else ""}
</header>
{self._overview() if self.films != 1 else ""}
<main id="films" tabindex="-1">
"""

    def _overview(self) -> str:
        return f"""<nav aria-labelledby="overview">
<h2 id="overview">Overview</h2>
<table class="overview">
<caption>{escape(self._counted())}</caption>
<thead><tr><th scope="col">film</th><th scope="col">class or fate</th>
<th scope="col" class="number">{"score" if self.models else escape(score_name(self.model))}</th>
</tr></thead>
<tbody>
{chr(10).join(self.rows)}
</tbody>
</table>
</nav>"""

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
