"""The history state of language models as a function of length, and the L²M condition."""
