"""One Milvus, in a file or on a server: the connection, the filters, the kinds of index."""
