"""A film on the page: pictures, and what each model makes of it."""

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
from cxrclient.pages.words import RESEARCH_USE, fact_words, score_name, shown
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

FILM_PX = 512
_SCALE = (
    '<div class="scale"><span>0</span><span class="heat" role="img" aria-label="Colour scale of '
    'the heatmap, from 0, dark and clear, to 1, bright yellow"></span><span>1</span></div>'
)


def film_article(number: int, name: str, judgements: Iterable[str], remarks: Iterable[str]) -> str:
    """One film that has a result.

    Args:
        number: of the film on the page, from 1.
        name: its heading.
        judgements: of `judged`, one a model.
        remarks: codes of what casts doubt on them; the page's guide has the sentences.
    """
    links = ", ".join(
        f'<a href="#{remark_id(code)}">{escape(fact_words(code))}</a>' for code in remarks
    )
    marks = f'\n<p class="marks">{links}</p>' if links else ""
    return f"""<article id="film-{number}" aria-labelledby="name-{number}">
<h2 id="name-{number}">{escape(name)}</h2>{marks}
{chr(10).join(judgements)}
<p class="back"><a href="#top">Back to the top</a></p>
</article>
"""


def judged(
    prediction: Prediction,
    name: str,
    model: EnsembleInfo,
    by: str,
    neighbours: str,
    *,
    with_film: bool,
) -> str:
    """What one model makes of a film.

    Args:
        prediction: made with `maps=True`.
        name: of the film, for those who do not see the pictures.
        model: whose prediction it is.
        by: ` by MODEL`, where the page has several; else nothing.
        neighbours: HTML of the nearest films, or nothing.
        with_film: whether the film itself is among the pictures, and what is known of it beside.
    """
    return f"""{_warnings(prediction, model)}
<div class="film">
<div class="pictures">
{_pictures(prediction, name, model, with_film=with_film)}
</div>
{_judgement(prediction, model, by)}
{_facts(prediction) if with_film else ""}
</div>
</div>
{neighbours}"""


def research_use(models: Sequence[EnsembleInfo]) -> str:
    """The sentence that stands before the first number, and what each server says of its model."""
    if len(models) == 1:
        said = f" {escape(models[0].notice)}"
    else:
        said = "".join(f"<p>{escape(each.name)}: {escape(each.notice)}</p>" for each in models)
    return f'<div class="notice" role="note"><strong>{RESEARCH_USE}</strong>{said}</div>'


def remark_id(code: str) -> str:
    """Where the guide says what a remark means."""
    return f"mind-{escape(code)}"


def code_html(code: str) -> str:
    """A code that may break after its underscores, where there is little room."""
    return f"<code>{escape(code).replace('_', '_<wbr>')}</code>"


def img(image: Image.Image, alt: str, quality: int = 90) -> str:
    """A picture in the page itself; the quality is JPEG's, 1 to 95."""
    return (
        f'<img src="{data_uri(image, quality)}" alt="{escape(alt)}" '
        f'width="{image.width}" height="{image.height}">'
    )


# --- pictures --------------------------------------------------------------------------------


def _pictures(prediction: Prediction, name: str, model: EnsembleInfo, *, with_film: bool) -> str:
    film = _figure(film_picture(prediction, FILM_PX), f"{name}: chest film", "Film")
    lungs = f"Lungs as found, outlined: {prediction.lung_fraction:.0%} of the film's area"
    return "\n".join(
        (
            film if with_film else "",
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
    return f"Heatmap towards {model.labels[1]}, {where}"


def _figure(image: Image.Image, alt: str, caption: str, below: str = "") -> str:
    return f"<figure>{img(image, alt)}{below}<figcaption>{escape(caption)}</figcaption></figure>"


# --- judgement -------------------------------------------------------------------------------


def refused_and_noted(
    prediction: Prediction, model: EnsembleInfo
) -> tuple[Sequence[str], Sequence[str]]:
    """The codes that cast doubt on a result: those that only `--no-gate` let in, and the others."""
    against = {each.code for each in model.admission.codes if each.rejects}
    refused = [code for code in prediction.warnings if code in against]
    return refused, [code for code in prediction.warnings if code not in against]


def _warnings(prediction: Prediction, model: EnsembleInfo) -> str:
    """Why the film is turned away where there is a gate, before the result."""
    refused, _ = refused_and_noted(prediction, model)
    if not refused:
        return ""
    doubtful = "".join(
        f"<li>{escape(model.admission.sentence(code))} {code_html(code)}</li>" for code in refused
    )
    return (
        '<div class="warning" role="note"><p><strong>Doubtful:</strong> with the gate this '
        f"film is turned away.</p><ul>{doubtful}</ul></div>"
    )


def _judgement(prediction: Prediction, model: EnsembleInfo, by: str) -> str:
    threshold = model.threshold
    members = "\n".join(
        _row(escape(member), value, shown(value)) for member, value in prediction.members.items()
    )
    mean = shown(prediction.probability, threshold)
    votes = f"{prediction.votes} of {len(prediction.members)} above 0.5"
    return f"""<div class="judgement">
<h3 class="verdict">Model's class{escape(by)}: {escape(prediction.label)}</h3>
<p class="score">{escape(score_name(model))}: {escape(mean)}</p>
<table class="members">
<caption>By member; {votes}</caption>
<tbody>
{members}
{_row("mean", prediction.probability, mean, mark=threshold)}
</tbody>
</table>"""


def _row(name: str, value: float, text: str, mark: float | None = None) -> str:
    kind = ' class="mean"' if mark is not None else ""
    return f'<tr{kind}><th scope="row">{name}</th><td>{measure(value, text, mark=mark)}</td></tr>'


def measure(value: float, text: str, *, mark: float | None) -> str:
    """A number of 0..1 behind its bar; the mark is the threshold.

    The bar is an SVG of its own, for that prints, and a background would not.
    """
    line = "" if mark is None else f'<rect class="mark" x="{100 * mark:.1f}" width="1" height="8"/>'
    return (
        '<div class="measure">'
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/>'
        f'<rect class="value" width="{100 * value:.1f}" height="8"/>{line}</svg>'
        f'<span class="number">{escape(text)}</span></div>'
    )


def _facts(prediction: Prediction) -> str:
    header = about(prediction)
    noted = [code for code in prediction.flags if code not in prediction.warnings]
    facts = [("noted", ", ".join(map(fact_words, noted)))] if noted else []
    facts += header_facts(header)
    kind = "SOP Instance UID" if "." in prediction.film_id else "SHA-256 of the file"
    ids = [("Study UID", header["study_uid"])] * bool(header["study_uid"])
    folded_ids = folded(kind if not ids else "UIDs", [*ids, (kind, prediction.film_id)])
    return f'<dl class="facts">{definitions(facts)}</dl>{folded_ids}'


def folded(summary: str, facts: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are, behind a line that opens them: long numbers that few need."""
    return (
        f'<details class="facts"><summary>{escape(summary)}</summary>'
        f"<dl>{definitions(facts)}</dl></details>"
    )


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
