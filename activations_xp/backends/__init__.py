"""The backends: one module or package for each array library."""
