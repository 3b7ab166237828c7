"""Couriers bring results to the peers: one thread a peer, so that none waits for another.

A delivery has arrived when the peer was asked and has every object. It is asked before, too, where
it may have some of them already. While a peer as a whole is away its courier waits, not each film.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from cxrclient.node.network.association import PeerError
from cxrclient.node.notes import NOTES
from cxrclient.node.options import NodeOptions
from cxrclient.node.send.peer import Answer, Peer
from cxrclient.node.spool.claims import LONGEST_WAIT_S
from cxrclient.node.spool.records import Delivery, ResultObject
from cxrclient.node.spool.spool import Spool

_log = logging.getLogger(__name__)
RESEND_EVERY = 4
"""What a peer said to have and does not find is sent again at every fourth try, else asked for."""
_LAGS_S = (0.0, 0.1, 0.3)  # before each question after storing: some PACS index a little later
_IDLE_S = 2.0  # an association is kept so long without work
_CHECK_EVERY_S = 30.0
_LONGEST_PAUSE_S = {"PEER_UNREACHABLE": 10.0, "PEER_BUSY": 10.0}
"""Back after an outage, a peer has work within ten seconds; whoever refuses us is asked less."""
_OF_THE_PEER = ("PEER_UNREACHABLE", "NO_DESCRIPTORS", "PEER_REFUSED", "PEER_TLS")
_NOT_YET = (True, "No result has gone to it yet, and it was not asked.")
_FINE = (True, "It is there, and lets us ask what it has.")


class Couriers:
    """The threads that bring results out, from `start` to `stop`.

    Args:
        options: of the node.
        spool: whose deliveries they claim.
        peers: of `peers_of`; their names are targets of the spool.
    """

    def __init__(self, options: NodeOptions, spool: Spool, peers: Sequence[Peer]) -> None:
        self._couriers = [_Courier(spool, peer) for peer in peers]
        self._aet = options.aet

    def start(self) -> None:
        """Begin to deliver; a peer that is away is waited for."""
        for courier in self._couriers:
            _log.info("Results go to %s; we call as %s.", courier.peer.name, self._aet)
            courier.thread.start()

    def states(self) -> dict[str, tuple[bool, str]]:
        """Tell of each peer, by its name, whether it does its part, in a sentence."""
        return {courier.peer.name: courier.state for courier in self._couriers}

    def stop(self, within_s: float) -> None:
        """Let each finish the film in hand; what is not done by then is done at the next start."""
        ends_at = time.monotonic() + within_s
        for courier in self._couriers:
            courier.ask_to_stop()
        for courier in self._couriers:
            courier.thread.join(max(ends_at - time.monotonic(), 0.0))
        late = [courier for courier in self._couriers if courier.thread.is_alive()]
        for courier in late:
            courier.peer.drop()
        for courier in late:
            courier.thread.join(1.0)


class _Courier:
    """One peer's thread."""

    def __init__(self, spool: Spool, peer: Peer) -> None:
        self.peer = peer
        self.state = _NOT_YET
        self.thread = threading.Thread(target=self._run, name=f"courier {peer.name}", daemon=True)
        self._spool = spool
        self._stopping = threading.Event()
        self._failures = 0  # of the peer as a whole, one after the other
        self._untold: set[str] = set()  # what was sent, and the spool could not be told

    def ask_to_stop(self) -> None:
        """Take no other delivery; do not wait on."""
        self._stopping.set()
        self._spool.wake()

    def _run(self) -> None:
        used_at = checked_at = -_CHECK_EVERY_S
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - max(used_at, checked_at) >= _CHECK_EVERY_S:
                checked_at = now
                self._watched(self.peer.check)
            delivery = self._claimed()
            if delivery is None:
                if time.monotonic() - used_at > _IDLE_S:
                    self.peer.close()
            elif self._stopping.is_set():
                self._spool.give_back(delivery)
            else:
                self._watched(partial(self._bring, delivery))
                used_at = time.monotonic()
        self.peer.close()

    def _claimed(self) -> Delivery | None:
        try:
            return self._spool.claim_delivery(self.peer.name)
        except Exception as error:  # the spool's disk: the thread lives on
            _log.error("The spool does not work (%s). It is tried again.", type(error).__name__)
            self._stopping.wait(_IDLE_S)
            return None

    def _watched(self, act: Callable[[], None]) -> None:
        """Do something with the peer, keep in mind how it stands, and wait where it is away."""
        try:
            act()
        except PeerError as error:
            self._say(False, f"{error.code}: {error.message} {NOTES[error.code][1]}")
            self.peer.close()
            if error.code != "PEER_CANNOT_ASK":  # it takes the results of others all the same
                self._pause(_LONGEST_PAUSE_S.get(error.code, LONGEST_WAIT_S))
        except Exception as error:  # the spool's disk, or a fault of ours: the thread lives on
            _log.error("Sending to %s failed (%s).", self.peer.name, type(error).__name__)
            self.peer.close()
            self._pause(LONGEST_WAIT_S)
        else:
            self._failures = 0
            self._say(*_FINE)

    def _pause(self, longest_s: float) -> None:
        self._stopping.wait(min(2.0 ** min(self._failures, 10), longest_s))
        self._failures += 1

    def _say(self, good: bool, sentence: str) -> None:
        if (good, sentence) != self.state:
            _log.log(logging.INFO if good else logging.WARNING, "%s: %s", self.peer.name, sentence)
        self.state = (good, sentence)

    def _bring(self, delivery: Delivery) -> None:
        """Bring a film's results to the peer, and tell the spool how that ended.

        Raises:
            PeerError: it did not work for a reason of the peer's; the spool knows.
        """
        answers: list[Answer] = []
        try:
            missing = self._missing_before(delivery)
            if missing and not (delivery.sent and delivery.attempts % RESEND_EVERY):
                self._untold.add(delivery.uid)
                answers = self.peer.store(delivery, missing)
                _require_no_busy(answers)
                missing = self._missing_after(delivery, answers)
            self._end(delivery, answers, missing)
            self._untold.discard(delivery.uid)
        except PeerError as error:
            sent = bool(answers) and not _sentence(answers, "busy")
            at_once = error.code in _OF_THE_PEER
            self._spool.delay(delivery, error.code, error.message, sent=sent, at_once=at_once)
            self._untold.discard(delivery.uid)
            raise
        except Exception as error:  # one film's fault does not hold up the others
            _log.error("A result of %s cannot be sent (%s).", delivery.uid, type(error).__name__)
            told = "A result could not be read from the spool, or not be sent."
            self._spool.delay(delivery, "SENDING_FAILED", told)
            self._untold.discard(delivery.uid)
        finally:
            self._spool.give_back(delivery)  # where the spool could not even note it

    def _missing_before(self, delivery: Delivery) -> list[ResultObject]:
        if delivery.ask_first or delivery.uid in self._untold:
            try:
                return self.peer.missing(delivery)
            except PeerError as error:
                if error.code != "PEER_CANNOT_ASK" or delivery.sent:
                    raise
        return list(delivery.outcome.objects)

    def _missing_after(self, delivery: Delivery, answers: Sequence[Answer]) -> list[ResultObject]:
        """What it has not; its index may come later than its answer."""
        refused = {answer.uid for answer in answers if answer.verdict == "refused"}
        missing: list[ResultObject] = []
        for lag_s in _LAGS_S:
            self._stopping.wait(lag_s)
            missing = self.peer.missing(delivery)
            if {each.uid for each in missing} <= refused:
                break
        return missing

    def _end(
        self, delivery: Delivery, answers: Sequence[Answer], missing: Sequence[ResultObject]
    ) -> None:
        refused = {answer.uid for answer in answers if answer.verdict == "refused"}
        lacking = [each.kind for each in missing if each.uid not in refused]
        if lacking:
            told = f"It said that it stored {', '.join(lacking)}, and does not find it."
            self._spool.delay(delivery, "PEER_LACKS", told, sent=True)
        elif refused:
            told = f"It will not store {_sentence(answers, 'refused')}."
            self._spool.refuse(delivery, "PEER_REFUSED_OBJECT", told)
        elif warned := _sentence(answers, "warned"):
            self._spool.delivered(delivery, "PEER_WARNED", f"It warned of {warned}.")
        else:
            self._spool.delivered(delivery)


def _sentence(answers: Sequence[Answer], verdict: str) -> str:
    return ", ".join(answer.sentence for answer in answers if answer.verdict == verdict)


def _require_no_busy(answers: Sequence[Answer]) -> None:
    if busy := _sentence(answers, "busy"):
        raise PeerError("PEER_BUSY", f"It does not take everything now: {busy}.")
