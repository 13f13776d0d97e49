"""The exponents of the known sources, measured on their exact curves (the command ``l2m sources``)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2m_utils import paper
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.sources.exhibit import slow_santa_fe
from l2m_utils.sources.gaussian import EXPONENT, HierarchicalGaussian
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.sources.mixture import BernoulliMixture
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.stationary_gaussian import LongMemoryGaussian
from l2m_utils.sources.trees import TreeSource


def exponent_table() -> pd.DataFrame:
    """Measured against theory, one row a law: columns source, quantity, measured, theory, at. A few seconds.

    >>> table = exponent_table().set_index(["source", "quantity"])
    >>> row = table.loc[("Gaussian, sub-volume", "β of I^BP ~ L^β")]
    >>> round(float(row.measured), 4), round(float(row.theory), 4)
    (0.7925, 0.7925)
    """
    rows = []

    def slope(source: str, quantity: str, curve, x: int, theory: float, factor: int = 2, log: str = "both") -> None:
        low, high = curve(x), curve(factor * x)
        if log == "both":  # exponent of a power law
            measured = np.log(high / low) / np.log(factor)
        elif log == "x":  # nats per unit of log L
            measured = (high - low) / np.log(factor)
        else:  # decay per step of an exponential
            measured = np.exp(np.log(high / low) / (x * (factor - 1)) / 2)
        rows.append((source, quantity, float(measured), theory, f"{x:,} to {factor * x:,}"))

    def half(source):
        return lambda length: source.bipartite_mi(length, length // 2)

    volume, logarithmic = HierarchicalGaussian(1, "sub-volume"), HierarchicalGaussian(1, "logarithmic")
    beta, log_law, power = "β of I^BP ~ L^β", "nats per log L of I^BP", "-α of I^TP ~ d^-α"
    slope("Gaussian, sub-volume", beta, half(volume), 4**12, EXPONENT, factor=4)
    far = half(logarithmic)
    settled = (far(4**24) - far(4**23)) / np.log(4)  # no closed form of ours: the increment must have settled
    slope("Gaussian, logarithmic", log_law, far, 4**12, settled, factor=4, log="x")
    for zipf in (1.25, 1.5, 2.0):
        slope(f"Santa Fe, a = {zipf:g}", beta, half(SantaFe(zipf)), 2**24, 1 / zipf)
    slow = slow_santa_fe()
    slope("Santa Fe, slow flips", beta, half(slow), 2**26, paper.DIRECT.exponent)
    slope("Santa Fe, slow flips", power, slow.two_point_mi, 2**28, paper.TWO_POINT.exponent)
    tree = TreeSource.binary(0.9)
    slope("tree, λ = 0.9", power, tree.two_point_mi, 2**20, -tree.two_point_exponent)
    chain = MarkovChain.binary(0.1)
    slope("Markov chain", "|λ₂| of I^TP ~ |λ₂|^2d", chain.two_point_mi, 16, chain.second_eigenvalue, log="y")
    slope("Dyck words, 2 kinds", beta, half(DyckWords(2)), 2**24, 0.5)
    slope("unknown coin", log_law, half(BernoulliMixture(1, 1)), 2**18, 0.5, log="x")
    slope("long-memory Gaussian, a = 0.5", log_law, half(LongMemoryGaussian(0.5)), 2**11, 0.25 / 8, log="x")
    return pd.DataFrame(rows, columns=["source", "quantity", "measured", "theory", "at"])
