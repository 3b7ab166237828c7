"""What can be seen of a node from outside: logs without patient data, metrics, drift."""
