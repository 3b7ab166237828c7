"""One HTML page of predictions and nearest films: self-contained, printable, no script.

    page_html([PageFilm(prediction, neighbours)], cxr.model)

Everything that is not ours is escaped. The research-use sentence and the server's notice stand on
every page, because every page shows probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING

from cxrclient._page_pictures import colour_scale, contour_picture, film_picture, heat_picture
from cxrclient.index import Neighbour, mean_probability
from cxrclient.prediction import EnsembleInfo, Prediction
from cxrclient.render import data_uri

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PageFilm", "page_html"]

THUMBNAIL_PX = 256
FILM_PX = 512


@dataclass(frozen=True)
class PageFilm:
    """One film of the page.

    Attributes:
        prediction: made with `maps=True`.
        neighbours: the nearest films, ascending distance.
        pictures: film id of a neighbour → its prediction made with `maps=True`, for its picture;
            a neighbour without one gets a place that says so.
        title: the film's name by default.
    """

    prediction: Prediction
    neighbours: Sequence[Neighbour] = ()
    pictures: Mapping[str, Prediction] = field(default_factory=dict)
    title: str | None = None


def page_html(
    films: Sequence[PageFilm],
    model: EnsembleInfo,
    *,
    title: str = "Chest films and their nearest films",
    note: str | None = None,
) -> str:
    """The page as text.

    Args:
        films: in the order of the page.
        model: whose predictions they are.
        title: of the page.
        note: a sentence for the reader of the neighbours, such as where they come from.

    Raises:
        UsageError: a film's prediction was made without `maps=True`.
    """
    sections = "\n".join(_film(film, number, model, note) for number, film in enumerate(films, 1))
    style = files("cxrclient").joinpath("page.css").read_text(encoding="utf-8")
    style = style.replace("HEAT_STOPS", colour_scale())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{_notice(model)}
</header>
<main>
{sections}
</main>
<footer>
<p>Model {escape(model.name)}, digest <code>{escape(model.digest)}</code>. Films are shown as the
networks saw them: cropped, padded to a square of {model.image_size_px} pixels, local contrast
equalised.</p>
</footer>
</body>
</html>
"""


def _notice(model: EnsembleInfo) -> str:
    return (
        '<p class="notice" role="note"><strong>Research use only; not a medical device.</strong> '
        f"{escape(model.notice)}</p>"
    )


def _film(film: PageFilm, number: int, model: EnsembleInfo, note: str | None) -> str:
    prediction = film.prediction
    name = film.title or (PurePath(prediction.path).name if prediction.path else f"Film {number}")
    return f"""<article aria-labelledby="film-{number}">
<h2 id="film-{number}">{escape(name)}</h2>
<div class="film">
<div class="pictures">
{_pictures(prediction, name)}
</div>
{_judgement(prediction, model)}
</div>
{_neighbours(film, number, name, model, note)}
</article>"""


# --- the film --------------------------------------------------------------------------------


def _pictures(prediction: Prediction, name: str) -> str:
    lungs = f"Lungs, outlined: {prediction.lung_fraction:.0%} of the film's area"
    scale = (
        '<div class="scale"><span>0</span><span class="heat" role="img" '
        'aria-label="Colour scale, from dark for 0 to bright yellow for 1"></span>'
        "<span>1</span></div>"
    )
    return "\n".join(
        (
            _figure(film_picture(prediction, FILM_PX), f"{name}: the chest film", "Film"),
            _figure(
                contour_picture(prediction, FILM_PX),
                f"{name}: the film with the lungs outlined",
                lungs,
            ),
            _figure(
                heat_picture(prediction, FILM_PX),
                f"{name}: the film under its heatmap",
                "Heatmap: the members' mean Grad-CAM, each relative to its own highest",
                scale,
            ),
        )
    )


def _figure(image: Image.Image, alt: str, caption: str, below: str = "") -> str:
    return f"<figure>{_img(image, alt)}{below}<figcaption>{escape(caption)}</figcaption></figure>"


def _img(image: Image.Image, alt: str) -> str:
    return (
        f'<img src="{data_uri(image)}" alt="{escape(alt)}" '
        f'width="{image.width}" height="{image.height}">'
    )


def _judgement(prediction: Prediction, model: EnsembleInfo) -> str:
    positive = model.labels[1]
    members = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_bar(value)}</td>'
        f'<td class="number">{value:.3f}</td></tr>'
        for name, value in prediction.members.items()
    )
    flags = "".join(f"<li><code>{escape(flag)}</code></li>" for flag in prediction.flags)
    return f"""<div class="judgement">
<p class="verdict"><span class="label">{escape(prediction.label)}</span>
p({escape(positive)}) = {prediction.probability:.3f}</p>
<p>{prediction.votes} of {len(prediction.members)} members say {escape(positive)}; the mean decides
(above {model.threshold:g} is {escape(positive)}).</p>
<table class="members">
<caption>p({escape(positive)}) by member</caption>
<tbody>
{members}
<tr class="mean"><th scope="row">mean</th><td>{_bar(prediction.probability)}</td>
<td class="number">{prediction.probability:.3f}</td></tr>
</tbody>
</table>
{f'<p>Noticed about the film:</p><ul class="flags">{flags}</ul>' if flags else ""}
</div>"""


def _bar(value: float) -> str:
    """A bar that prints (a background would not): an SVG of its own."""
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/>'
        f'<rect class="value" width="{100 * value:.1f}" height="8"/></svg>'
    )


# --- the neighbours --------------------------------------------------------------------------


def _neighbours(
    film: PageFilm, number: int, name: str, model: EnsembleInfo, note: str | None
) -> str:
    if not film.neighbours:
        return ""
    cards = [_query(film.prediction, name, model)]
    for rank, neighbour in enumerate(film.neighbours, 1):
        cards.append(_neighbour(neighbour, rank, film.pictures.get(neighbour.id), model))
    mean = mean_probability(film.neighbours)
    positive = escape(model.labels[1])
    summary = (
        ""
        if mean is None
        else f"<p>Mean p({positive}) of these {len(film.neighbours)} films: "
        f"<strong>{mean:.3f}</strong>; of {escape(name)} itself: {film.prediction.probability:.3f}."
        "</p>"
    )
    return f"""<section aria-labelledby="near-{number}">
<h3 id="near-{number}">Nearest films in the archive</h3>
{f'<p class="note" role="note">{escape(note)}</p>' if note else ""}
<ul class="neighbours">
{chr(10).join(cards)}
</ul>
{summary}
</section>"""


def _query(prediction: Prediction, name: str, model: EnsembleInfo) -> str:
    picture = _img(film_picture(prediction, THUMBNAIL_PX), f"{name}, to compare")
    facts = [("distance", "0"), *_probability(prediction.probability, model)]
    return _card("query", picture, "This film", prediction.label, "predicted", facts)


def _neighbour(
    neighbour: Neighbour, rank: int, seen: Prediction | None, model: EnsembleInfo
) -> str:
    label = neighbour.label or "no label"
    alt = f"Nearest film {rank}: {label}, distance {neighbour.distance:.2f}"
    if seen is None:
        picture = f'<div class="missing" role="img" aria-label="{escape(alt)}">no picture</div>'
    else:
        picture = _img(film_picture(seen, THUMBNAIL_PX), alt)
    facts = [("distance", f"{neighbour.distance:.2f}")]
    if neighbour.probability is not None:
        facts += _probability(neighbour.probability, model)
    if neighbour.patient_key:
        facts.append(("patient key", neighbour.patient_key[:8]))
    facts.append(("id", _short(neighbour.id)))
    origin = {"metadata": "known", "predicted": "predicted"}.get(neighbour.label_source or "", "")
    return _card("neighbour", picture, f"Nearest {rank}", label, origin, facts)


def _card(
    kind: str,
    picture: str,
    heading: str,
    label: str,
    origin: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    lines = "".join(f"<div><dt>{escape(t)}</dt><dd>{escape(d)}</dd></div>" for t, d in facts)
    return f"""<li class="{kind}">
<h4>{escape(heading)}</h4>
{picture}
<p class="label">{escape(label)} <span class="source">{escape(origin)}</span></p>
<dl>{lines}</dl>
</li>"""


def _probability(value: float, model: EnsembleInfo) -> list[tuple[str, str]]:
    return [(f"p({model.labels[1]})", f"{value:.3f}")]


def _short(film_id: str) -> str:
    return film_id if len(film_id) <= 16 else f"{film_id[:5]}…{film_id[-6:]}"
