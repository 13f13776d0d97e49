"""Sources whose mutual information is known exactly: the ground truth of the book.

Every source is one small object with ``sample(n, length, rng)``, ``bipartite_mi(length, split)``,
``two_point_mi(distance)`` and its asymptotic law; discrete sources give exact log-probabilities,
Gaussian ones exact conditional means and standard deviations.  numpy and scipy only.
Import the module that you need: nothing is imported here.
"""
