"""Options of DICOM results, said once: `@with_objects` adds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cxrclient.cli.options.added import adding
from cxrclient.errors import UsageError

_Dicom = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write each film's results as DICOM objects of its study here: SR, Segmentation of "
        "the lungs, picture. Needs the extra `pacs`.",
    ),
]
_Gsps = Annotated[
    bool,
    typer.Option("--gsps", help="With --dicom: the lungs' outline as a presentation state, too."),
]
_Neighbours = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        min=1,
        max=1000,
        help="With --dicom: the K nearest films of the archive (--index, or --archive) as an SR of "
        "their own, too.",
    ),
]
_Archive = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Search this archive for --neighbours, and put no film into it.",
    ),
]


@dataclass(frozen=True)
class Objects:
    """What is wanted as DICOM objects.

    Attributes:
        folder: None for none.
        gsps: whether the outline is wanted.
        neighbours: how many nearest films; 0 for none.
        archive: to search for them, where films go into none.
    """

    folder: Path | None
    gsps: bool
    neighbours: int
    archive: str | None

    def require_archive(self, index: str | None) -> None:
        """Raise UsageError where neighbours are wanted of no archive, or of two.

        Args:
            index: the archive that films go into.
        """
        if self.neighbours and (index is None) == (self.archive is None):
            raise UsageError("--neighbours needs one archive to search: --index or --archive URI.")


def _objects(
    *,
    dicom: _Dicom = None,
    gsps: _Gsps = False,
    neighbours: _Neighbours = None,
    archive: _Archive = None,
) -> Objects:
    if dicom is None and (gsps or neighbours):
        raise UsageError(f"{'--gsps' if gsps else '--neighbours'} needs --dicom DIR.")
    if archive is not None and not neighbours:
        raise UsageError("--archive is searched for --neighbours K. Give both, or neither.")
    return Objects(dicom, gsps, neighbours or 0, archive)


with_objects = adding("objects", _objects)
"""Give a command the options of DICOM results, in the place of its argument `objects`.

The command takes `*, objects: Objects`, which is checked already.
"""
