"""CPU-seconds, wall seconds, peak memory and bytes of every data step of an edition.

    python benchmarks/data_layer.py --edition 2022 > benchmarks/data_layer.md

Each step runs in a process of its own, so that its peak memory is its own; imports are in the
figures. Workbooks come from NAICS_SOURCE_DIR, from the package (`sample`), or from the network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from naics_model.storage.layout import EditionFolder


def source(folder: EditionFolder) -> Path:
    from naics_model.corpus.download import fetch_workbook
    from naics_model.corpus.editions import edition

    source_dir = os.environ.get('NAICS_SOURCE_DIR')
    for kind in ('codes', 'descriptions', 'index', 'cross_references'):
        fetch_workbook(
            edition(folder.edition),
            kind,
            folder.source,
            source_dir=Path(source_dir) if source_dir else None,
        )
    return folder.source


def descriptions(folder: EditionFolder) -> Path:
    from naics_model.corpus.descriptions import build_descriptions
    from naics_model.corpus.editions import edition
    from naics_model.storage.files import write_parquet

    books = edition(folder.edition).workbooks
    paths = [folder.source / books[k].file for k in ('codes', 'descriptions', 'cross_references')]
    write_parquet(build_descriptions(edition(folder.edition), *paths), folder.descriptions)
    return folder.descriptions


def activities(folder: EditionFolder) -> Path:
    from naics_model.corpus.activities import build_activities
    from naics_model.corpus.editions import edition
    from naics_model.storage.files import read_parquet, write_parquet

    index = folder.source / edition(folder.edition).workbooks['index'].file
    codes = read_parquet(folder.descriptions)
    write_parquet(build_activities(edition(folder.edition), index, codes), folder.activities)
    return folder.activities


def distances(folder: EditionFolder) -> Path:
    from naics_model.corpus.descriptions import taxonomy_of
    from naics_model.storage.files import read_parquet, write_parquet
    from naics_model.taxonomy.distances import distance_table

    table = distance_table(taxonomy_of(read_parquet(folder.descriptions)))
    write_parquet(table, folder.distances)
    return folder.distances


def relations(folder: EditionFolder) -> Path:
    from naics_model.corpus.descriptions import taxonomy_of
    from naics_model.storage.files import read_parquet, write_parquet
    from naics_model.taxonomy.relations import relation_table

    table = relation_table(taxonomy_of(read_parquet(folder.descriptions)))
    write_parquet(table, folder.relations)
    return folder.relations


def triplets(folder: EditionFolder) -> Path:
    from naics_model.triplets.build import build_triplets

    build_triplets(folder.descriptions, folder.distances, folder.triplets)
    return folder.triplets


def relation_index(folder: EditionFolder) -> Path:
    from naics_model.triplets.relation_index import build_relation_index

    build_relation_index(folder.descriptions, folder.distances, folder.relation_index)
    return folder.relation_index


def token_cache(folder: EditionFolder) -> Path:
    from naics_model.encoder.backbones import MINILM
    from naics_model.encoder.tokens import build_token_cache

    build_token_cache(folder.descriptions, folder.token_cache, backbone=MINILM)
    return folder.token_cache


STEPS: tuple[Callable[[EditionFolder], Path], ...] = (
    source,
    descriptions,
    activities,
    distances,
    relations,
    triplets,
    relation_index,
    token_cache,
)


def measure(step: Callable[[EditionFolder], Path], folder: EditionFolder) -> str:
    """Run a step in this process and return its row of the table."""
    started = time.monotonic()
    written = step(folder)
    wall = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6
    files = [written] if written.is_file() else list(written.glob('*.xlsx'))
    size = sum(file.stat().st_size for file in files) / 1e6
    cpu = usage.ru_utime + usage.ru_stime
    return f'| {step.__name__} | {cpu:.2f} | {wall:.2f} | {peak:.0f} | {size:.2f} |'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022')
    options = parser.parse_args()
    print(f'# Data layer, edition {options.edition}\n')
    command = shlex.join(['python', 'benchmarks/data_layer.py', *sys.argv[1:]])
    print(f'`{command}`, {os.cpu_count()} cores, Python {platform.python_version()}\n')
    print('| step | CPU-seconds | wall seconds | peak memory, MB | output, MB |')
    print('|---|---:|---:|---:|---:|', flush=True)
    with tempfile.TemporaryDirectory() as data:
        folder = EditionFolder(Path(data), options.edition)
        # A new process for each step; nothing of the one before is inherited.
        with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
            for step in STEPS:
                print(pool.apply(measure, (step, folder)), flush=True)


if __name__ == '__main__':
    main()
