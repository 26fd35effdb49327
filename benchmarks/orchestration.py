"""What a run of the graph adds to the command that trains: seconds around it, and in each step.

    python benchmarks/orchestration.py > benchmarks/orchestration.md

Takes about ten minutes. Stage 1 of the sample edition with the profile `smoke`, by hand and as a
run of Dagster's own command line, in turn; each in processes of its own, with its own instance and
tracker in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from measuring import print_head
from pytorch_lightning import Callback

from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from naics_model.training.stages import STAGES

BAR = 15
STAGE = 'stage_1_easy'
INPUTS = (
    'group:"source" or group:"corpus" or group:"taxonomy" or group:"triplets" or group:"tokens"'
)


class StepClock(Callback):
    """Writes how long each training step took, batch and optimiser."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seconds: list[float] = []
        self._since = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self._seconds.append(time.perf_counter() - self._since)

    def on_fit_end(self, *_: Any) -> None:
        self._path.write_text(json.dumps(self._seconds))


class Took(NamedTuple):
    """Seconds of a whole run, and the median of its training steps."""

    whole: float
    step: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--times', type=int, default=3, help='of each, in turn')
    times = parser.parse_args().times
    print_head('Orchestration', 'orchestration.py')
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / 'home').mkdir()
        settings_file = Path('dagster_home', 'dagster.yaml')
        (place / 'home' / settings_file.name).write_bytes(settings_file.read_bytes())
        profile = place / 'timed.yaml'
        settings = yaml.safe_load((PROFILES / 'smoke.yaml').read_text(encoding='utf-8'))
        clock = {'class_path': 'orchestration.StepClock', 'init_args': {}}
        clock['init_args'] = {'path': str(place / 'steps.json')}
        settings['trainer']['callbacks'] = [clock]
        profile.write_text(yaml.safe_dump(settings), encoding='utf-8')
        environment = {
            **os.environ,
            'DAGSTER_HOME': str(place / 'home'),
            'MLFLOW_TRACKING_URI': f'sqlite:///{place / "mlflow.db"}',
            'NAICS_DATA_DIR': str(place / 'data'),
            'NAICS_PROFILE': str(profile),
            'GOMP_SPINCOUNT': '20000',
            'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())]),
        }
        run(graph(INPUTS), environment)
        first = timed(graph(f'key:"{STAGE}"'), environment, place)
        bare, graphs = [], []
        for _ in range(times):
            bare.append(timed(command(place, profile), environment, place))
            graphs.append(timed(graph(f'key:"{STAGE}"'), environment, place))
    report(bare, graphs, first)


def command(place: Path, profile: Path) -> list[str]:
    """Return the command that trains, as a person types it."""
    edition = EditionFolder(place / 'data', 'sample')
    files = {
        '--data.relation_index': edition.relation_index,
        '--data.token_cache': edition.token_cache,
        '--data.phrases': edition.phrases,
        '--run_dir': place / 'by_hand',
    }
    words = ['-m', 'naics_model.training', 'fit', '--config', profile, '--curriculum']
    words += [STAGES[STAGE], *(word for pair in files.items() for word in pair)]
    return [sys.executable, *map(str, words)]


def graph(selection: str) -> list[str]:
    """Return the command that makes a run of the graph."""
    words = ['-m', 'dagster', 'asset', 'materialize', '-m', 'naics_assets.definitions']
    return [sys.executable, *words, '--partition', 'sample', '--select', selection]


def run(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])


def timed(arguments: list[str], environment: dict[str, str], place: Path) -> Took:
    started = time.monotonic()
    run(arguments, environment)
    whole = time.monotonic() - started
    return Took(whole, statistics.median(json.loads((place / 'steps.json').read_text())))


def report(bare: list[Took], graphs: list[Took], first: Took) -> None:
    """Print the runs, and what the graph adds."""
    print('Seconds of stage 1 of the sample edition, profile `smoke`, 16 steps; in turn.\n')
    print('| | command | run of the graph | more |\n|---|---:|---:|---:|')
    for number, (one, other) in enumerate(zip(bare, graphs, strict=True), start=1):
        more = other.whole - one.whole
        print(f'| run {number} | {one.whole:.1f} | {other.whole:.1f} | {more:.1f} |')
    more = statistics.median(g.whole - b.whole for b, g in zip(bare, graphs, strict=True))
    print(f'| *bar* | | | {BAR} |')
    one, other = (statistics.median(took.step for took in all_) for all_ in (bare, graphs))
    print(f'| a step, median | {one:.3f} | {other:.3f} | {other - one:+.3f} |\n')
    print(
        f'The median is {more:.1f} seconds more; the step takes {other / one:.2f} times as long. '
        f'The first run of all, which makes the tracker its database, took {first.whole:.1f}.'
    )


if __name__ == '__main__':
    main()
