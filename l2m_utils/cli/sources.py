"""The exponents of the known sources, measured on their exact curves, beside those of the theory."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose."""


def run(options: argparse.Namespace) -> int:
    """Print the table; a few seconds."""
    import pandas as pd

    from l2m_utils.sources.exponents import exponent_table

    with pd.option_context("display.width", 140):
        print(exponent_table().to_string(index=False, float_format=lambda number: f"{number:.4f}"))
    return 0
