"""The first sight of a page: its films as a table that can be sorted, those without a result apart.

Sorting needs no script: the style sheet knows each row's place in every order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from cxrclient.errors import FilmError
from cxrclient.pages.film_section import code_html, img, measure
from cxrclient.pages.pictures import film_picture
from cxrclient.pages.words import fact_words, score_name, shown
from cxrclient.wire import EnsembleInfo, Prediction

_THUMBNAIL_PX = 96
_ORDERS = ("as given", "highest score first", "by name")


class _Fate(NamedTuple):
    status: str
    message: str
    code: str
    retriable: bool


@dataclass(frozen=True)
class _Row:
    number: int
    name: str
    score: float
    remarks: tuple[str, ...]
    picture: str
    classes: str
    scores: str
    lungs: str

    @property
    def file(self) -> str:
        return self.name.partition(": ")[2]


@dataclass
class Overview:
    """The lines of a page's films, kept until all are known.

    Attributes:
        rows: of films with a result.
        fates: of those without, by what became of them and why → their headings.
    """

    rows: list[_Row] = field(default_factory=list)
    fates: dict[_Fate, list[tuple[int, str]]] = field(default_factory=dict)

    def add(
        self,
        number: int,
        name: str,
        judged: Sequence[tuple[Prediction, EnsembleInfo]],
        *,
        several: bool,
    ) -> None:
        """Take a film with a result.

        Args:
            number: of the film on the page.
            name: its heading.
            judged: its predictions, the first of which sorts it, and whose they are.
            several: whether the page has more than one model.
        """
        first, _ = judged[0]
        scores = []
        for seen, model in judged:
            text = shown(seen.probability, model.threshold)
            words = f'<span class="which">{escape(score_name(model))}</span>' if several else ""
            scores.append(words + measure(seen.probability, text, mark=model.threshold))
        codes = dict.fromkeys(code for seen, _ in judged for code in seen.warnings)
        self.rows.append(
            _Row(
                number,
                name,
                first.probability,
                tuple(codes),
                img(film_picture(first, _THUMBNAIL_PX), f"Film {number}, small", 75),
                "".join(_class(seen, model) for seen, model in judged),
                "".join(scores),
                f"{first.lung_fraction:.0%}",
            )
        )

    def add_failure(self, number: int, name: str, error: FilmError, message: str) -> None:
        """Take a film without a result.

        Args:
            number: of the film on the page.
            name: its heading.
            error: what became of it.
            message: the error's sentence without the film's folders.
        """
        fate = _Fate(error.status, message, error.code, error.retriable)
        self.fates.setdefault(fate, []).append((number, name))

    def style(self) -> str:
        """Rules that bring the rows into each order but the first."""
        by_score = sorted(enumerate(self.rows, 1), key=lambda row: -row[1].score)
        by_name = sorted(enumerate(self.rows, 1), key=lambda row: row[1].file.casefold())
        return "".join(
            f"nav:has(#order-{choice}:checked) tbody tr:nth-child({child}){{order:{place}}}\n"
            for choice, rows in enumerate((by_score, by_name), 1)
            for place, (child, _) in enumerate(rows, 1)
        )

    def table(self, counted: str, score: str) -> Iterator[str]:
        """The films with a result, in parts, of which a large page holds one at a time.

        Args:
            counted: how many films there are.
            score: what the models' number is called.
        """
        shared = self._shared()
        orders = "".join(
            f'<label><input type="radio" name="order" id="order-{n}"{" checked" * (n == 0)}>'
            f"{words}</label>"
            for n, words in enumerate(_ORDERS)
        )
        sort = f'<fieldset class="orders"><legend>Order</legend>{orders}</fieldset>'
        columns = "".join(
            f'<th scope="col" role="columnheader">{escape(name)}</th>'
            for name in ("film", "name", "class", score, "lungs")
        )
        all_of_them = f" All of them: {', '.join(map(fact_words, shared))}." if shared else ""
        yield f"""<nav aria-labelledby="overview">
<h2 id="overview">Overview</h2>
<p class="counted">{escape(counted)}.{escape(all_of_them)}</p>
{sort if len(self.rows) > 1 else ""}
<table class="overview" role="table" aria-labelledby="overview">
<thead role="rowgroup"><tr role="row">{columns}</tr></thead>
<tbody role="rowgroup">
"""
        for row in self.rows:
            yield self._line(row, shared)
        yield "</tbody>\n</table>\n</nav>\n"

    def _shared(self) -> tuple[str, ...]:
        """Remarks that every film has: said once, above."""
        if len(self.rows) < 2:
            return ()
        first, *others = self.rows
        return tuple(code for code in first.remarks if all(code in row.remarks for row in others))

    def _line(self, row: _Row, shared: Sequence[str]) -> str:
        own = [fact_words(code) for code in row.remarks if code not in shared]
        remarks = f'<div class="remarks">{escape(", ".join(own))}</div>' if own else ""
        return (
            f'<tr role="row"><td role="cell" class="small">{row.picture}</td>'
            f'<th scope="row" role="rowheader"><a href="#film-{row.number}">{escape(row.name)}</a>'
            f'{remarks}</th><td role="cell" class="class">{row.classes}</td>'
            f'<td role="cell" class="score">{row.scores}</td>'
            f'<td role="cell" class="lungs">{row.lungs}</td></tr>\n'
        )

    def without_result(self) -> str:
        """The films without a result, under what became of them and why; or nothing."""
        if not self.fates:
            return ""
        parts = "\n".join(
            f"""<article class="failure">
<h3>{said}</h3>
<ul>
{chr(10).join(_reason(fate, films) for fate, films in self.fates.items() if fate.status == status)}
</ul>
</article>"""
            for status, said in (("rejected", "Turned away"), ("failed", "Failed"))
            if any(fate.status == status for fate in self.fates)
        )
        return f"""<section class="without" aria-labelledby="without">
<h2 id="without">Films without a result</h2>
{parts}
</section>"""


def _class(seen: Prediction, model: EnsembleInfo) -> str:
    above = ' class="above"' * (seen.probability > model.threshold)
    return f"<div{above}>{escape(seen.label)}</div>"


def _reason(fate: _Fate, films: Sequence[tuple[int, str]]) -> str:
    again = " Sending it again may help." if fate.retriable else ""
    names = "".join(f'<li id="film-{number}">{escape(name)}</li>' for number, name in films)
    return f"<li>{escape(fate.message)} {code_html(fate.code)}{again}<ul>{names}</ul></li>"
