"""Options of DICOM results, said once: `@with_objects` adds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.options.added import adding
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from cxrclient.archive import SimilarityIndex
    from cxrclient.cli.options.archive import Access
    from cxrclient.cli.output.dicom import DicomFolder
    from cxrclient.cli.output.nearest import NearestFilms

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


class Objects:
    """What is wanted as DICOM objects.

    Args:
        folder: None for none.
        gsps: whether the outline is wanted.
        neighbours: how many nearest films; None for none.
        archive: to search for them, where films go into none.

    Raises:
        UsageError: an option needs another one.
    """

    def __init__(
        self, folder: Path | None, gsps: bool, neighbours: int | None, archive: str | None
    ) -> None:
        if folder is None and (gsps or neighbours):
            raise UsageError(f"{'--gsps' if gsps else '--neighbours'} needs --dicom DIR.")
        if archive is not None and neighbours is None:
            raise UsageError("--archive is searched for --neighbours K; give both.")
        self._folder, self._gsps = folder, gsps
        self.neighbours, self.archive = neighbours, archive

    def opened(self, index: str | None) -> DicomFolder | None:
        """Make the folder; None where no objects are wanted.

        Args:
            index: the archive that films go into.

        Raises:
            UsageError: it cannot be written to, or no one archive is there to be searched.
        """
        if self.neighbours and (index is None) == (self.archive is None):
            raise UsageError("--neighbours needs one archive to search: --index or --archive URI.")
        if self._folder is None:
            return None
        from cxrclient.cli.output.dicom import DicomFolder

        return DicomFolder(self._folder, gsps=self._gsps)

    def nearest(
        self,
        opened: ExitStack,
        model_digest: str,
        index: SimilarityIndex | None,
        access: Access,
    ) -> NearestFilms:
        """Open what finds the nearest films.

        Args:
            opened: closes the archive.
            model_digest: of the server's model.
            index: the archive that films go into; None where `archive` is searched.
            access: to it.

        Raises:
            ArchiveError: it cannot be opened, or is another model's.
        """
        from cxrclient.archive import SimilarityIndex
        from cxrclient.cli.output.nearest import NearestFilms

        if index is None:
            index = opened.enter_context(
                SimilarityIndex(
                    str(self.archive), model_digest=model_digest, create=False, **access
                )
            )
        return NearestFilms(index, int(self.neighbours or 0))


def _objects(
    *,
    dicom: _Dicom = None,
    gsps: _Gsps = False,
    neighbours: _Neighbours = None,
    archive: _Archive = None,
) -> Objects:
    return Objects(dicom, gsps, neighbours, archive)


with_objects = adding("objects", _objects)
"""Give a command the options of DICOM results, in the place of its argument `objects`.

The command takes `*, objects: Objects`, for `objects.opened(…)`.
"""
