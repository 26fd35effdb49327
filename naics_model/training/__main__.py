"""`python -m naics_model.training fit`: see `cli`."""

import sys

from naics_model.jobs.command import run_command
from naics_model.training.cli import main

sys.exit(run_command(main, sys.argv[1:]))
