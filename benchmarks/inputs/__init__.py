"""What benchmarks send and search: films, embeddings, a fast server, a Milvus server."""
