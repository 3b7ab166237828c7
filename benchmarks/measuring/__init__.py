"""What measures: the machine, processes, servers, loops, and what follows from films in a row."""
