"""What the node has said yes to: films and results as files, and a row for each in SQLite."""
