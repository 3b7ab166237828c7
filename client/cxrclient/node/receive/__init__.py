"""Films in: who may send, what is taken, what is answered."""
