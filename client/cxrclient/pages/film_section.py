"""A film on the page: pictures, what the model makes of it, or why it has no result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from cxrclient.pages.pictures import (
    contour_picture,
    film_picture,
    heat_in_lungs,
    heat_picture,
    heat_place,
)
from cxrclient.pages.render import data_uri
from cxrclient.pages.words import (
    RESEARCH_USE,
    calibration_sentence,
    fact_words,
    score_name,
    shown,
    threshold_sentence,
)
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

    from cxrclient.errors import FilmError

FILM_PX = 512
_SCALE = (
    '<div class="scale"><span>0</span><span class="heat" role="img" aria-label="Colour scale of '
    'the heatmap, from 0, dark and clear, to 1, bright yellow"></span><span>1</span></div>'
)


def film_article(
    prediction: Prediction,
    number: int,
    name: str,
    model: EnsembleInfo,
    neighbours: str,
) -> str:
    """One film that has a result.

    Args:
        prediction: made with `maps=True`.
        number: of the film on the page, from 1.
        name: its heading.
        model: whose prediction it is.
        neighbours: HTML of the nearest films, or nothing.
    """
    return f"""<article id="film-{number}" aria-labelledby="name-{number}">
<h2 id="name-{number}">{escape(name)}</h2>
{research_use(model)}
{_warnings(prediction, model)}
<div class="film">
<div class="pictures">
{_pictures(prediction, number, model)}
</div>
{_judgement(prediction, model)}
</div>
{neighbours}
{_back()}
</article>
"""


def failure_article(error: FilmError, message: str, number: int, name: str) -> str:
    """One film that has no result, and why."""
    fate = "Turned away" if error.status == "rejected" else "Failed"
    again = "<p>Sending it again may help.</p>" if error.retriable else ""
    code = code_html(error.code)
    return f"""<article id="film-{number}" class="failure" aria-labelledby="name-{number}">
<h2 id="name-{number}">{escape(name)}</h2>
<h3 class="verdict">{fate}: no result</h3>
<p>{escape(message)} {code}</p>
{again}{_back()}
</article>
"""


def research_use(model: EnsembleInfo) -> str:
    """The sentence that stands wherever a number stands."""
    return (
        f'<p class="notice" role="note"><strong>{RESEARCH_USE}</strong> {escape(model.notice)}</p>'
    )


def code_html(code: str) -> str:
    """A code that may break after its underscores, where there is little room."""
    return f"<code>{escape(code).replace('_', '_<wbr>')}</code>"


def img(image: Image.Image, alt: str) -> str:
    """A picture in the page itself."""
    return (
        f'<img src="{data_uri(image)}" alt="{escape(alt)}" '
        f'width="{image.width}" height="{image.height}">'
    )


def _back() -> str:
    return '<p class="back"><a href="#top">Back to the top</a></p>'


# --- pictures --------------------------------------------------------------------------------


def _pictures(prediction: Prediction, number: int, model: EnsembleInfo) -> str:
    name = f"Film {number}"
    lungs = f"Lungs as found, outlined: {prediction.lung_fraction:.0%} of the film's area"
    return "\n".join(
        (
            _figure(film_picture(prediction, FILM_PX), f"{name}: chest film", "Film"),
            _figure(contour_picture(prediction, FILM_PX), f"{name} with the lungs outlined", lungs),
            _figure(
                heat_picture(prediction, FILM_PX),
                f"{name} under its heatmap, {_hottest(prediction)}",
                _heat_caption(prediction, model),
                _SCALE,
            ),
        )
    )


def _hottest(prediction: Prediction) -> str:
    place = heat_place(prediction)
    return "which is empty" if place is None else f"hottest in the {place} of the picture"


def _heat_caption(prediction: Prediction, model: EnsembleInfo) -> str:
    share = heat_in_lungs(prediction)
    where = "it is empty" if share is None else f"{share:.0%} of it in the lungs"
    return (
        f"Heatmap (Grad-CAM): what drew the members towards {model.labels[1]}, {where}. Each "
        "member's is scaled to its own highest, so a low score can look as hot as a high one."
    )


def _figure(image: Image.Image, alt: str, caption: str, below: str = "") -> str:
    return f"<figure>{img(image, alt)}{below}<figcaption>{escape(caption)}</figcaption></figure>"


# --- judgement -------------------------------------------------------------------------------


def _warnings(prediction: Prediction, model: EnsembleInfo) -> str:
    """What casts doubt on the result, before the result: first what only `--no-gate` let in."""
    against = {each.code for each in model.admission.codes if each.rejects}
    refused = [code for code in prediction.warnings if code in against]
    others = [code for code in prediction.warnings if code not in against]
    return _listed(
        "warning", "Doubtful:", "with the gate this film is turned away.", refused, model
    ) + _listed("note", "Mind", "before the result:", others, model)


def _listed(kind: str, strong: str, text: str, codes: Sequence[str], model: EnsembleInfo) -> str:
    if not codes:
        return ""
    items = "".join(
        f"<li>{escape(model.admission.sentence(code))} {code_html(code)}</li>" for code in codes
    )
    return (
        f'<div class="{kind}" role="note"><p><strong>{strong}</strong> {text}</p>'
        f"<ul>{items}</ul></div>"
    )


def _judgement(prediction: Prediction, model: EnsembleInfo) -> str:
    name, threshold = score_name(model), model.threshold
    members = "\n".join(
        _row(escape(member), value, shown(value)) for member, value in prediction.members.items()
    )
    mean = shown(prediction.probability, threshold)
    votes = f"{prediction.votes} of {len(prediction.members)} above 0.5"
    return f"""<div class="judgement">
<h3 class="verdict">Model's class: {escape(prediction.label)}</h3>
<p class="score">{escape(name)}: {escape(mean)}</p>
<p>{escape(calibration_sentence(model))}</p>
<p>{escape(threshold_sentence(model))}</p>
<table class="members">
<caption>{escape(name)}, by member; {votes}</caption>
<tbody>
{members}
{_row("mean", prediction.probability, mean, mark=threshold)}
</tbody>
</table>
{_facts(prediction)}
</div>"""


def _row(name: str, value: float, text: str, mark: float | None = None) -> str:
    kind = ' class="mean"' if mark is not None else ""
    return (
        f'<tr{kind}><th scope="row">{name}</th><td><div class="measure">{_bar(value, mark)}'
        f'<span class="number">{escape(text)}</span></div></td></tr>'
    )


def _bar(value: float, mark: float | None) -> str:
    """A bar that prints (a background would not): an SVG of its own; the mark is the threshold."""
    line = "" if mark is None else f'<rect class="mark" x="{100 * mark:.1f}" width="1" height="8"/>'
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/>'
        f'<rect class="value" width="{100 * value:.1f}" height="8"/>{line}</svg>'
    )


def _facts(prediction: Prediction) -> str:
    header = about(prediction)
    noted = [code for code in prediction.flags if code not in prediction.warnings]
    facts = [("noted", ", ".join(map(fact_words, noted)))] if noted else []
    facts += header_facts(header)
    if header["study_uid"]:
        facts.append(("Study UID", header["study_uid"]))
    kind = "SOP Instance UID" if "." in prediction.film_id else "SHA-256 of the file"
    facts.append((kind, prediction.film_id))
    return f'<dl class="facts">{definitions(facts)}</dl>'


def about(prediction: Prediction) -> dict[str, Any]:
    """What the film's header says that a page shows; None where it does not say."""
    names = ("view", "sex", "age", "study_uid")
    return {name: getattr(prediction.film, name, None) for name in names}


def header_facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What can be compared between films: view, sex, age."""
    named = (("view", "view"), ("sex", "sex"), ("age", "age in years"))
    return [(words, text_of(known[name])) for name, words in named if known.get(name) is not None]


def text_of(value: object) -> str:
    """A value of the metadata; of an age of 42.5833 years nobody needs the days."""
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)


def definitions(facts: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are, for a `dl`."""
    return "".join(f"<div><dt>{escape(t)}</dt><dd>{escape(d)}</dd></div>" for t, d in facts)
