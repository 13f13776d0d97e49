"""Thirteen related papers, one lab each, on the sources, scorers and estimators of this book."""
