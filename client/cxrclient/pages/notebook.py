"""What a notebook shows of a prediction, instead of one long line."""

from __future__ import annotations

from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from cxrclient.pages.words import RESEARCH_USE, fact_words, shown

if TYPE_CHECKING:
    from cxrclient.wire import Prediction

_PICTURE_PX = 256


def prediction_html(prediction: Prediction) -> str:
    """A table, and the film with lungs and heatmap where the prediction has its maps."""
    name = PurePath(prediction.path).name if prediction.path else prediction.film_id
    facts = [
        ("film", name),
        ("class", prediction.label),
        ("mean of the members", shown(prediction.probability)),
        *((member, shown(value)) for member, value in prediction.members.items()),
        ("votes", f"{prediction.votes} of {len(prediction.members)}"),
        ("lungs", f"{prediction.lung_fraction:.0%} of the film"),
    ]
    noted = [flag for flag in prediction.flags if flag not in prediction.warnings]
    facts += [("doubtful", ", ".join(map(fact_words, prediction.warnings)))] * bool(
        prediction.warnings
    )
    facts += [("noted", ", ".join(map(fact_words, noted)))] * bool(noted)
    facts.append(("model", f"{prediction.model.name} {prediction.model.digest[:12]}"))
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(term)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for term, text in facts
    )
    return (
        f"<div><p><strong>{RESEARCH_USE}</strong> What the numbers are worth says the server: "
        "<code>cxr.model.notice</code>, <code>cxr.model.calibrated</code>.</p>"
        f"{_picture(prediction)}<table>{rows}</table></div>"
    )


def _picture(prediction: Prediction) -> str:
    if prediction.cxr is None or prediction.lungs is None or prediction.heatmap is None:
        return ""
    from cxrclient.pages.render import data_uri, overlay

    image = overlay(prediction)
    image.thumbnail((_PICTURE_PX, _PICTURE_PX))
    return f'<img src="{data_uri(image)}" alt="The film with lungs outlined and heatmap">'
