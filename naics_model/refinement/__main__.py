"""`python -m naics_model.refinement`: see `cli`; `… attach`: see `attach`."""

import sys

from naics_model.jobs.command import run_command
from naics_model.refinement.attach import attach
from naics_model.refinement.cli import refine

arguments = sys.argv[1:]
if arguments[:1] == ['attach']:
    sys.exit(run_command(attach, arguments[1:]))
sys.exit(run_command(refine, arguments))
