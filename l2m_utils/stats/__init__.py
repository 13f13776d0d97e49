"""Error bars and fits: bootstrap and jackknife over documents, laws, least squares, collapse."""
