"""Grids of runs and what is read from them; what knows the names of records."""
