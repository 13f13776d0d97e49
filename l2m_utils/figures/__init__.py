"""Drawings that belong to no estimator."""
