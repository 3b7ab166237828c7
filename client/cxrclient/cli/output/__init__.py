"""What commands write: results, pictures, progress, summaries."""
