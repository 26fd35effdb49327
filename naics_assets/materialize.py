"""`python -m naics_assets.materialize`: the whole graph for one edition, from a terminal.

The run is an ordinary Dagster run, with its events in the instance, so that the UI shows it too.
Here it is followed line by line, and ends with the figures and where to look next.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from rich.console import Console

from naics_assets.definitions import defs
from naics_assets.lib.environment import prepare_environment
from naics_assets.lib.follower import Follower
from naics_assets.lib.launcher import TRAINING_PROFILES
from naics_assets.lib.summary import print_summary
from naics_model.corpus.editions import load_editions
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.training.stages import LAST_STAGE

JOB = 'full_edition'


@contextmanager
def output_to(log: Path) -> Iterator[Console]:
    """Send this process's output, and its children's, to a log file; yield the real terminal.

    The terminal then shows only what is meant for the person who watches.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(1), 'w')
    with log.open('ab') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        # No emoji: a path may hold :colons:, as it may hold [brackets] where markup is off.
        yield Console(file=terminal, soft_wrap=True, emoji=False)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        terminal.close()


def materialise(edition: str, profile: str, max_steps: int = 0) -> int:
    """Run the whole graph for an edition and show its figures.

    Args:
        edition: one of `editions.toml`.
        profile: of the jobs that train.
        max_steps: the most steps of each of them; 0 is what the profile says.

    Returns:
        The exit code: 0, or 1 if a step failed.
    """
    folder = EditionFolder(default_data_dir(), edition)
    log = folder.path / 'run.log'
    graph = defs()
    job = graph.resolve_job_def(JOB)
    started = time.monotonic()
    with output_to(log) as console, dg.DagsterInstance.get() as instance:
        run_id = str(uuid.uuid4())
        steps = len(job.graph.nodes)
        console.print(f'[bold]NAICS edition {edition}[/], profile {profile}, {steps} steps')
        console.print(
            f'Run {run_id[:8]}; everything it says is in {log}\n', highlight=False, markup=False
        )
        with console.status('starting …') as status:
            follower = Follower(console, status, steps)
            instance.add_event_listener(run_id, follower)
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                partition_key=edition,
                raise_on_error=False,
                run_config={
                    'loggers': {'console': {'config': {'log_level': 'INFO'}}},
                    'resources': {'jobs': {'config': {'profile': profile, 'max_steps': max_steps}}},
                },
            )
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        took = f'{minutes} min {seconds:02d} s'
        if not result.success:
            console.print(f'\n[bold red]Stopped after {took}.[/] What was made before is kept.')
            for failure in follower.failures:
                console.print(failure, highlight=False, markup=False)
            return 1
        print_summary(console, folder, folder.stage(LAST_STAGE) / 'model', profile, took)
    return 0


def main() -> int:
    """Read the command line and run."""
    prepare_environment()
    parser = argparse.ArgumentParser(
        prog='python -m naics_assets.materialize',
        description='Materialise every asset of one edition, and print its evaluation.',
        epilog='Real editions come from the Census Bureau, or from the folder NAICS_SOURCE_DIR.',
    )
    parser.add_argument('--edition', default='sample', choices=list(load_editions()))
    parser.add_argument(
        '--profile',
        default=os.environ.get('NAICS_PROFILE') or 'smoke',
        choices=sorted(path.stem for path in TRAINING_PROFILES.glob('*.yaml')),
        help='how long to train, and on what (default: %(default)s)',
    )
    parser.add_argument(
        '--max-steps',
        type=int,
        default=int(os.environ.get('NAICS_MAX_STEPS') or '0'),
        help='the most steps of each job that trains, for a try of the whole graph',
    )
    arguments = parser.parse_args()
    return materialise(arguments.edition, arguments.profile, arguments.max_steps)


if __name__ == '__main__':
    sys.exit(main())
