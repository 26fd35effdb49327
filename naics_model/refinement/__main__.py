"""`python -m naics_model.refinement`: see `cli`."""

import sys

from naics_model.jobs.command import run_command
from naics_model.refinement.cli import refine

sys.exit(run_command(refine, sys.argv[1:]))
