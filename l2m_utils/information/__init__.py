"""Exact and counted entropies: tables of probabilities, estimators from counts, exact counting."""
