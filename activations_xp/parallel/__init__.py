"""Functions of sequences that are sharded over devices, by library."""
