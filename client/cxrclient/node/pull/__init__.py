"""Films of a date range out of a PACS, into files."""
