"""``python -m l2m_utils.book COMMAND``: see :mod:`l2m_utils.book.commands`."""

import argparse
import sys

from l2m_utils.book.commands import add_arguments, run

parser = argparse.ArgumentParser(prog="python -m l2m_utils.book", description="Build, show and publish the book.")
add_arguments(parser)
sys.exit(run(parser.parse_args()))
