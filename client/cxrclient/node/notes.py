"""What the node may note of a film, a caller or a peer: code → what it means, and what to do."""

from __future__ import annotations

NOTES = {
    "NOT_A_FILM": (
        "The object is no radiograph: its SOP class or transfer syntax is not taken.",
        "Route films alone to the node.",
    ),
    "OWN_RESULT": (
        "The object is a picture that cxr-triton made of a film; it is not analysed again.",
        "Keep the node's own series out of the route: its modality is OT, and none of CR or DX.",
    ),
    "UID_MISMATCH": (
        "The object's SOP class or instance UID is not the one that its sender announced.",
        "Mend the sender: what it announces has to be what it sends.",
    ),
    "OTHER_STUDY": (
        "The film is of another study than the one in the URL that it was sent to.",
        "Send it to /dicom-web/studies, or to its own study.",
    ),
    "TRANSFER_ABORTED": (
        "The sender ended the connection in the middle of an object, or is too slow; none is kept.",
        "Send the film again; look at the sender and the network where it comes often.",
    ),
    "PROTOCOL_WRONG": (
        "A caller does not keep to DICOM's network protocol, so its association was ended.",
        "Look at the sender, and at what lies between; send the film again.",
    ),
    "MEMORY_FULL": (
        "Too many large objects came at once, and this one was too slow or too large; it was cut.",
        "Send it again; let fewer associations send at once, or look at the sender's network.",
    ),
    "TOO_MANY_CALLERS": (
        "Too many associations or connections are open, so one of them was ended or refused.",
        "Look for who opens them and does not end them; others come again.",
    ),
    "COMMITMENT_REFUSED": (
        "A caller asked for storage commitment and was refused: it may delete films on it, and "
        "the node is no archive.",
        "Ask the PACS for storage commitment, not the node.",
    ),
    "OTHER_PIXELS": (
        "A film came again under the same SOP Instance UID with other pixels; the first is kept.",
        "Find out which of the two is right, and give the other a UID of its own.",
    ),
    "STUDY_CHANGED": (
        "A film came again under another study; its results stay in the study in which it came.",
        "Where the first study was wrong, move or delete its results in the PACS.",
    ),
    "LOW_DISK": (
        "The spool's disk is nearly full, so no film is taken.",
        "Make room, or choose another disk; the sender sends it again.",
    ),
    "WORK_WAITS": (
        "The spool's disk is nearly full, so films that are here wait to be analysed, too.",
        "Make room, or choose another disk; they go on by themselves.",
    ),
    "QUEUE_FULL": (
        "Too many films wait to be analysed, so no film is taken.",
        "Wait, or add workers or servers; the sender sends it again.",
    ),
    "SPOOL_FAILED": (
        "The film or its results could not be written to the spool.",
        "Look at the spool's disk: it is full, broken or read-only.",
    ),
    "UPKEEP_FAILED": (
        "Files whose time is over could not be removed; it is tried again every ten minutes.",
        "Look at the spool's disk: it is broken or read-only.",
    ),
    "NO_DESCRIPTORS": (
        "The node has no file descriptor left: too many files and connections are open.",
        "Raise the limit (LimitNOFILE= of systemd, `ulimit -n`), and look who connects so often.",
    ),
    "SECOND_NODE": (
        "Another node was started on the spool of this one, and ended at once.",
        "Give each node a spool of its own.",
    ),
    "CALLER_UNKNOWN": (
        "A caller was refused: its AE title is not among those of --allow, or it called another.",
        "Mend the sender's configuration, or allow its AE title.",
    ),
    "CALLER_TLS": (
        "A caller got no TLS connection: its certificate is missing, expired or not trusted, it "
        "does not trust ours, or it speaks without TLS.",
        "Renew the certificate, or give its authority with --tls-ca; make the sender use TLS.",
    ),
    "REQUEST_BROKEN": (
        "A request is no HTTP/1.1: its framing, length, headers or Expect cannot be understood.",
        "Mend the client, or a proxy before the node.",
    ),
    "NOT_MULTIPART": (
        "A request to store is no multipart/related of application/dicom.",
        "Send films as DICOM PS3.18 section 10.5 says; `curl --data-binary` of a file does not.",
    ),
    "REQUEST_TOO_LARGE": (
        "A request to store is larger than any film, or holds too many films.",
        "Send fewer films a request.",
    ),
    "NODE_ENDS": (
        "The node ends, so no film is taken.",
        "Send the film again in a minute.",
    ),
    "QUERY_WRONG": (
        "A query for results cannot be understood.",
        "Give `after` and `limit` (1 to 1000) as numbers, `from` and `to` as YYYY-MM-DD.",
    ),
    "NO_SUCH_PAGE": (
        "There is nothing at this URL for this method.",
        "POST /dicom-web/studies; GET /health/live, /health/ready, /metrics, /results, /drift.",
    ),
    "TOKEN_MISSING": (
        "What was asked for needs a token, and the node has none.",
        "Start the node with --results-token-file; `openssl rand -hex 32` makes a token.",
    ),
    "TOKEN_WRONG": (
        "A caller over HTTP has no token, or not the node's.",
        "Send `Authorization: Bearer TOKEN` with the token of --results-token-file.",
    ),
    "REFERENCE_OTHER_MODEL": (
        "The training films' embeddings are another model's, so no distance to them is measured.",
        "Predict the training films again with `--embeddings`, with the model that is served.",
    ),
    "WORKER_DIED": (
        "The process that analysed the film died with it, again and again.",
        "Export the film again, then `cxrclient node retry`; look for a lack of memory.",
    ),
    "PEER_UNREACHABLE": (
        "The peer does not answer; it is tried again for ever.",
        "Start it, or mend its address; nothing is lost meanwhile.",
    ),
    "PEER_REFUSED": (
        "The peer refuses the association or the request.",
        "Make our AE title or token known to the peer, and call it by its own AE title.",
    ),
    "PEER_TLS": (
        "No TLS connection to the peer comes about: a certificate is expired or not trusted.",
        "Renew the certificate, or give its authority with --peer-tls-ca.",
    ),
    "PEER_BUSY": (
        "The peer could not take the objects now; it is asked again.",
        "Look at its disk and its log where this lasts.",
    ),
    "PEER_REFUSED_OBJECT": (
        "The peer will not store one of the objects; the others are stored.",
        "Allow its SOP class in the peer, then `cxrclient node retry`.",
    ),
    "PEER_WARNED": (
        "The peer stored an object with a warning.",
        "Look at the object in the peer: it may have changed some of its attributes.",
    ),
    "PEER_LACKS": (
        "The peer said that it stored an object, and does not find it when asked.",
        "Look at the peer's log; the object is sent again.",
    ),
    "PEER_GONE": (
        "Results waited for this target, which the node is no longer told of.",
        "Nothing, if that was meant: they go to the targets that it is told of now. If not, name "
        "the right ones again, then `cxrclient node retry --delivered-since DATE`: they get what "
        "others got since then.",
    ),
    "PEER_CANNOT_ASK": (
        "The peer does not let us ask whether it has the objects.",
        "Allow C-FIND or QIDO-RS for our AE title in the peer.",
    ),
    "SENDING_FAILED": (
        "The node could not read or send a result that it has; it is tried again for ever.",
        "Look at the spool's disk and into the node's log.",
    ),
    "ARCHIVE_AWAY": (
        "The archive does not take the film now; it is tried again for ever.",
        "Start Milvus, or mend --archive-uri.",
    ),
}
"""Beside these, a film can have any code of `cxrclient codes`."""
REFUSE_NOTHING = frozenset(
    ("OTHER_PIXELS", "STUDY_CHANGED", "WORK_WAITS", "UPKEEP_FAILED", "SECOND_NODE", "PEER_GONE")
)
"""Notes of what no caller or object was refused for."""
