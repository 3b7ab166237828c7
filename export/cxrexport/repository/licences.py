"""`LICENSE-weights.md` of a repository: the licences of the weights that its networks began from.

What `build` writes stands between two marks; what people wrote around it (the licences of films
and masks that the networks learnt from) stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cxrclient.files import write_whole

LICENCES = "LICENSE-weights.md"
_BEGIN = "<!-- starting weights: from here on written by `cxrexport build` -->"
_END = "<!-- end of the starting weights -->"
_WRITTEN = re.compile(rf"\n*{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", re.DOTALL)
_NEW = """# Licence of the weights

What the networks learnt from (films, masks) has licences of its own; write them here, above or
below the part on starting weights.
"""


def write_licences(beside: Path, directory: Path, notices: Mapping[str, str]) -> None:
    """Write the file of a repository that is being built.

    Args:
        beside: folder that will take the place of `directory`'s files.
        directory: the repository as it is.
        notices: graph → licence and provenance of what it began from, Markdown; empty where the
            networks learnt from scratch.
    """
    known = directory / LICENCES
    before = known.read_text(encoding="utf-8") if known.is_file() else None
    if not notices and (before is None or _BEGIN not in before):
        return
    kept = _WRITTEN.sub("\n", _NEW if before is None else before).rstrip() + "\n"
    write_whole(beside / LICENCES, kept + (_part(notices) if notices else ""))


def _part(notices: Mapping[str, str]) -> str:
    texts = "\n".join(re.sub(r"(?m)^#", "###", text).strip() + "\n" for text in notices.values())
    return (
        f"\n{_BEGIN}\n\n## Starting weights\n\n"
        f"{', '.join(notices)}: these networks began from weights that were there before, or are "
        "such. The licences below stay in force; pass them on with the graphs.\n\n"
        f"{texts}\n{_END}\n"
    )
