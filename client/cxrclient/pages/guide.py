"""How a page is read: what its numbers and pictures mean, said once for all of its films."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from cxrclient.pages.film_section import code_html, refused_and_noted, remark_id
from cxrclient.pages.words import calibration_sentence, threshold_sentence
from cxrclient.wire import EnsembleInfo, Prediction

_HEAT = (
    "The heatmap (Grad-CAM) shows what drew the members towards the class that it names. Each "
    "member's is scaled to its own highest, so a low score can look as hot as a high one."
)
_NEAR = (
    "Near films are alike to the model, by the Euclidean distance of embeddings: films of the same "
    "machine can be near for that alone."
)


@dataclass
class Guide:
    """What of it the page needs.

    Attributes:
        remarks: code → its sentence, of what casts doubt on results.
        films: code → how many films have it.
        near: whether a film has nearest films.
    """

    remarks: dict[str, str] = field(default_factory=dict)
    films: Counter[str] = field(default_factory=Counter)
    near: bool = False

    def add(self, judged: Sequence[tuple[Prediction, EnsembleInfo]]) -> list[str]:
        """Take note of what is remarked of a film, and give the codes."""
        noted: dict[str, None] = {}
        for seen, model in judged:
            for code in refused_and_noted(seen, model)[1]:
                self.remarks[code] = model.admission.sentence(code)
                noted[code] = None
        self.films.update(noted.keys())
        return list(noted)

    def html(self, models: Sequence[EnsembleInfo], note: str | None) -> str:
        """The guide.

        Args:
            models: whose predictions the page shows.
            note: a sentence for the reader of the neighbours.
        """
        paragraphs = []
        for model in models:
            whose = f"<strong>{escape(model.name)}.</strong> " if len(models) > 1 else ""
            meaning = f"{calibration_sentence(model)} {threshold_sentence(model)}"
            paragraphs.append(f"<p>{whose}{escape(meaning)}</p>")
        paragraphs.append(f"<p>{_HEAT}</p>")
        if self.near:
            paragraphs.append(f"<p>{_NEAR}{f' {escape(note)}' if note else ''}</p>")
        for code, sentence in self.remarks.items():
            count = self.films[code]
            films = "one film" if count == 1 else f"{count} films"
            paragraphs.append(
                f'<p id="{remark_id(code)}"><strong>Mind</strong> before the result of {films}: '
                f"{escape(sentence)} {code_html(code)}</p>"
            )
        lines = "\n".join(paragraphs)
        return f"""<section class="guide" aria-labelledby="guide">
<h2 id="guide">How to read it</h2>
<div class="columns">
{lines}
</div>
</section>"""
