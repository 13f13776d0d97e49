"""Ratios against the alternatives, measured side by side; `make bench` runs them all."""
