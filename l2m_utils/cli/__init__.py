"""The command ``l2m``: one file a subcommand, and ``main`` that finds them."""
