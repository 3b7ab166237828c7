"""The search for films: in folders, lists, zips and DICOMDIRs, and what it passes over."""
