"""How the node speaks DICOM and TLS: a listener that silent clients do not block, and who calls."""
