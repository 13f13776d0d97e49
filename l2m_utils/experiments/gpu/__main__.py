"""``python -m l2m_utils.experiments.gpu``, also for the processes that the command starts for its stages."""

import sys

from l2m_utils.experiments.gpu.command import main

if __name__ == "__main__":
    sys.exit(main())
