"""Codes that have no class of their own, of films and warnings: what each means, what to do."""

from __future__ import annotations

FATES = {
    "FILE_UNREADABLE": (
        "The system does not give the file: it is not there, or not for you.",
        "Mend the path, or the file's permissions.",
    ),
    "FOLDER_UNREADABLE": (
        "The system does not give the folder, so its films are missing from the results.",
        "Mend the folder's permissions, and run again.",
    ),
    "FILE_CHANGED": (
        "The film of a stored result has no file any more, or another one, and nothing says whose "
        "film it is.",
        "Put the file back, give `metadata` with its patient_id, or predict it again.",
    ),
    "STORED_DAMAGED": (
        "A film's stored result or its maps cannot be read.",
        "Predict the film again.",
    ),
    "NO_STUDY": (
        "The film does not say which study, series and object it is: DICOM results have no place.",
        "Send it as a DICOM file with valid UIDs; a prediction that was made of it stands.",
    ),
    "NO_RESULTS": (
        "The film's header is so odd that no DICOM results can be made of it.",
        "Export the film again from where it comes from; its prediction stands.",
    ),
    "UID_TWICE": (
        "Another file of the run, with another content, has the same SOP Instance UID.",
        "The first one's DICOM results are kept. Give one of the two a UID of its own.",
    ),
    "NOT_PULLED": (
        "The PACS does not give the film, or gives another or only a part of it.",
        "Look at the object in the PACS; `cxrclient pull` again asks for what is missing.",
    ),
    "SERVER_BUSY": (
        "The server turned the film away, because its queue is full.",
        "Send it again later; a run does so by itself for some time.",
    ),
    "TIMEOUT": (
        "No answer came in time.",
        "Allow more with `timeout_s`, or send fewer at a time with `jobs`.",
    ),
    "STEP_DIED": (
        "A step of the server has died.",
        "`cxrclient serve` and the image start it again; start any other Triton again yourself.",
    ),
    "SERVER_ERROR": ("The server could not compute an answer.", "Look into the server's log."),
    "BAD_ANSWER": (
        "The server's answer is none of this ensemble.",
        "Look into the server's log, and report it if the server is of cxr-triton.",
    ),
    "MODEL_CHANGED": (
        "The server changed its model while it had the film.",
        "Send the film again.",
    ),
    "INTERNAL": ("Client or server failed at a fault of ours.", "Report the line of the message."),
}

OTHER_PATIENT = "PATIENT_DIFFERS"
WARNINGS = {
    OTHER_PATIENT: (
        "The metadata names another patient than the film's header. The film is archived under the "
        "metadata's, so a film that has only the header's is not recognised as of this patient.",
        "If that is not meant, write the header's number as `patient_id`, or leave the column out, "
        "and index again.",
    ),
}
"""What a run says of films that it takes nevertheless."""
