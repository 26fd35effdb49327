"""`python -m naics_model.benchmark`: see `cli`."""

import sys

from naics_model.benchmark.cli import main
from naics_model.jobs.command import run_command

sys.exit(run_command(main, sys.argv[1:]))
