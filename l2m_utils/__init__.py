"""Helpers of the executable book of the L²M paper (arXiv 2503.04725).

Importing this package imports nothing heavy: every module is imported by name,
so that the build can tell which notebook depends on which helper.
"""

__version__ = "0.1.0"
