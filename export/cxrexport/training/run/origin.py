"""The checkpoint that a network began from (`--pretrained`), noted beside it in `origin.json`.

So a training cannot go on from other weights than it was begun with, and a report can say what the
networks knew before they saw a film, whoever asks for it and however much later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from cxrclient.files import sha256_of, write_whole
from cxrexport.errors import RecipeError
from cxrexport.networks.pretrained import IMAGENET_URLS
from cxrexport.training.processes import is_first
from cxrexport.training.run.folder import Run, read_json
from cxrexport.training.run.initial import initial_of

__all__ = ["Origin", "note_origin", "origin_of", "origins_in_words"]


@dataclass(frozen=True)
class Origin:
    """A checkpoint.

    Attributes:
        source: `imagenet`, or the file's name without its folder.
        sha256: of the file; of torchvision's the first eight digits, which its name ends with.
        freeze: `features` if `--freeze` said that only the head learns.
    """

    source: str
    sha256: str
    freeze: str | None = None

    def __str__(self) -> str:
        frozen = ", features frozen" if self.freeze else ""
        return f"{self.source} ({self.sha256[:12]}{frozen})"

    @classmethod
    def of(cls, network: str, source: str) -> Origin:
        """What `--pretrained` names; the file must be there."""
        if source == "imagenet":
            return cls(source, IMAGENET_URLS[network].removesuffix(".pth").rsplit("-", 1)[1])
        return cls(Path(source).name, sha256_of(Path(source)))


def origin_of(run: Run, network: str) -> Origin | None:
    """Return what a network began from; None if from scratch, another run, or not begun."""
    known = run.folder(network).origin
    return Origin(**read_json(known)) if known.is_file() else None


def note_origin(run: Run, network: str, origin: Origin | None) -> None:
    """Write down what a network begins from.

    Raises:
        RecipeError: it was begun from something else.
    """
    folder, known = run.folder(network), origin_of(run, network)
    if folder.begun and known != origin:
        raise RecipeError(
            f"{folder.path} was begun from {known or 'no checkpoint'}; now {network} would start "
            f"from {origin or 'none'}. Give the same --pretrained again, choose another --output, "
            "or delete that folder."
        )
    if not is_first():
        return
    if origin is None:
        folder.origin.unlink(missing_ok=True)
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.origin, json.dumps(asdict(origin), indent=2) + "\n")


def origins_in_words(networks: Iterable[tuple[str, Run, str]]) -> str:
    """Say what networks began from, those that began alike together.

    Args:
        networks: what to call each, its run, and its name there.
    """
    began: dict[str, list[str]] = {}
    for called, run, name in networks:
        origin, initial = origin_of(run, name), initial_of(run, name)
        start = str(origin) if origin else f"run {initial.run}" if initial else "from scratch"
        alike = began.setdefault(start, [])
        if called not in alike:
            alike.append(called)
    if len(began) == 1:
        return next(iter(began))
    return "; ".join(f"{', '.join(alike)}: {start}" for start, alike in began.items())
