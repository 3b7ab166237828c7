"""`cxrclient node run`: the node, in the foreground."""

from __future__ import annotations

from typing import Any

from cxrclient.cli.exits import errors_as_exit_codes
from cxrclient.cli.node.options import node_options, with_asked
from cxrclient.cli.options.server import Secured, with_secured
from cxrclient.cli.terminal import say, say_if_interrupts_are_ignored


@with_secured
@with_asked
def run(*, asked: dict[str, Any], secured: Secured) -> None:
    """Take films over DICOM and STOW-RS, and put results into their studies, until SIGTERM.

    A film that was acknowledged is not lost, whatever is killed, and its results are in each peer
    once. Triton or a peer may be away: films are taken all the same, and wait.

    Listens on this machine only, unless --host says otherwise. Results are for research use only,
    and each object says so.

    SIGTERM or Ctrl-C: no new film is taken, films in hand are finished, within 30 s.
    """
    with errors_as_exit_codes():
        options = node_options(asked, secured)
        from cxrclient.node import run_node

        say("Research use only. Not a medical device, not for clinical use.", bold=True)
        say_if_interrupts_are_ignored()
        run_node(options)
