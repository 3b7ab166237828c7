"""The nearest films on the page: each with what a site knows of it, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from cxrclient.archive import Neighbour, consensus
from cxrclient.pages.film_section import about, definitions, folded, header_facts, img, text_of
from cxrclient.pages.pictures import film_picture
from cxrclient.pages.words import score_name, shown
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

    Picture = Image.Image | str

THUMBNAIL_PX = 256
_NO_PICTURE = "No picture: the archive keeps none, and the film's file was not at hand."
_ORIGINS = {
    "metadata": "label from the archive's metadata",
    "predicted": "label predicted by the model, not known",
}
# Columns with a place of their own; the others are the site's, and stand as they are.
_ELSEWHERE = {"view", "sex", "age", "study_uid", "days", "offset_days", "offset_meaning"}
_ELSEWHERE |= {"series_uid"}  # the study's is enough to find the film


def neighbours_section(
    prediction: Prediction,
    neighbours: Sequence[Neighbour],
    pictures: Mapping[str, Picture],
    number: int,
    model: EnsembleInfo,
) -> str:
    """The nearest films, ascending distance, after the film itself to compare.

    Args:
        prediction: of the film.
        neighbours: of it.
        pictures: film id → its picture, or a sentence why there is none.
        number: of the film on the page.
        model: whose embeddings they are near in.
    """
    if not neighbours:
        return without_neighbours(number, "The archive has no film to compare with.")
    cards = [_query(prediction, number, model)]
    for rank, neighbour in enumerate(neighbours, 1):
        picture = pictures.get(neighbour.id, _NO_PICTURE)
        cards.append(_neighbour(neighbour, rank, number, picture, model))
    return _section(
        number,
        f"""<ul class="neighbours">
{chr(10).join(cards)}
</ul>
{_together(neighbours, prediction, model)}""",
    )


def without_neighbours(number: int, sentence: str) -> str:
    """The section where nearest films were asked for and there are none; it says why."""
    return _section(number, f"<p>{escape(sentence)}</p>")


def _section(number: int, content: str) -> str:
    return f"""<section>
<h3 id="near-{number}">Films of the archive nearest to film {number}</h3>
{content}
</section>"""


def _query(prediction: Prediction, number: int, model: EnsembleInfo) -> str:
    picture = img(film_picture(prediction, THUMBNAIL_PX), f"Film {number}, small, to compare")
    facts = [(score_name(model), shown(prediction.probability, model.threshold))]
    facts += header_facts(about(prediction))
    heading = f"This film: {escape(prediction.label)}"
    return _card("query", heading, picture, "class given by the model", facts)


def _neighbour(
    neighbour: Neighbour, rank: int, number: int, picture: Picture, model: EnsembleInfo
) -> str:
    label = neighbour.label or "no label"
    if isinstance(picture, str):
        place = f'<p class="missing">{escape(picture)}</p>'
    else:
        place = img(picture, f"Nearest film {rank} to film {number}")
    origin = _ORIGINS.get(neighbour.label_source or "", "")
    heading = f"Nearest {rank}: {escape(label)}"
    return _card("neighbour", heading, place, origin, _facts(neighbour, model), _ids(neighbour))


def _facts(neighbour: Neighbour, model: EnsembleInfo) -> list[tuple[str, str]]:
    facts = [("distance", f"{neighbour.distance:.2f}")]
    if neighbour.probability is not None:
        facts.append((score_name(model), shown(neighbour.probability, model.threshold)))
    known = neighbour.metadata
    days = known.get("offset_days") if neighbour.days is None else neighbour.days
    if days is not None:
        facts.append((neighbour.days_meaning, text_of(days)))
    facts += header_facts(known)
    facts += [(name, text_of(known[name])) for name in sorted(known.keys() - _ELSEWHERE)]
    return facts


def _ids(neighbour: Neighbour) -> str:
    ids = []
    if neighbour.patient_key:
        ids.append(("patient (keyed hash)", neighbour.patient_key[:8]))
    if neighbour.study_uid:
        ids.append(("Study UID", neighbour.study_uid))
    return folded("ids", [*ids, ("film id", neighbour.id)])


def _card(
    kind: str,
    heading: str,
    picture: str,
    origin: str,
    facts: Sequence[tuple[str, str]],
    ids: str = "",
) -> str:
    source = f'<p class="source">{escape(origin)}</p>' if origin else ""
    return f"""<li class="{kind}">
<h4>{heading}</h4>
{picture}
{source}
<dl>{definitions(facts)}</dl>
{ids}
</li>"""


def _together(neighbours: Sequence[Neighbour], prediction: Prediction, model: EnsembleInfo) -> str:
    """Mean and disagreement, beside the film's own score."""
    together = consensus(neighbours, model.threshold)
    if together is None:
        return ""
    count = f"{together.films} films" if together.films != 1 else "one film"
    above = round(together.share_positive * together.films)
    known = sum(n.label_source == "metadata" for n in neighbours)
    labels = ", ".join(f"{number} {label}" for label, number in together.labels.items())
    return (
        f'<p class="together">Together: {escape(score_name(model))} of {count} on average '
        f"<strong>{escape(shown(together.mean_probability, model.threshold))}</strong>, standard "
        f"deviation {together.spread:.3f}, {above} of {together.films} above the threshold; this "
        f"film's own: {escape(shown(prediction.probability, model.threshold))}. "
        f"{f'Labels: {escape(labels)} ({known} of {len(neighbours)} known).' if labels else ''}</p>"
    )
