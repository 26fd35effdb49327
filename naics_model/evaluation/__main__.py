"""Lets the evaluation run as `python -m naics_model.evaluation`."""

import sys

from naics_model.evaluation.cli import main

if __name__ == '__main__':
    sys.exit(main())
