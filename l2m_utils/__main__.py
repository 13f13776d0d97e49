"""``python -m l2m_utils``: the command ``l2m`` by the name of the package, for ``torchrun -m`` and for what is not installed."""

import sys

from l2m_utils.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
