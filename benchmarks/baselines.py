"""Retrieval without a model, and structure without text, beside earlier figures.

    python benchmarks/baselines.py > benchmarks/baselines.md

Takes about six minutes. The edition is built from NAICS_SOURCE_DIR, from the package (`sample`), or
from the network. Each figure is of a process of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from measuring import Figures, own_processes, print_head
from numpy.typing import NDArray

from naics_model.corpus.editions import load_editions
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.evaluation import baselines
from naics_model.evaluation.ceilings import fit_tree
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.evaluation.sentences import sentence_vectors
from naics_model.evaluation.structure import structure_metrics
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import Taxonomy

RETRIEVAL = ('hit_at_1', 'hit_at_5', 'hit_at_10', 'mrr')
STRUCTURE = ('average_distortion', 'spearman', 'edge_map')
TEXTS = {
    'title and description': ('title', 'description'),
    'title, description, examples': ('title', 'description', 'examples'),
}
FULL = 'title, description, examples'
# What was measured on 2022 before there was a model, by a prototype that shares no code with this.
EARLIER = {
    'BM25': ('0.544', '0.789', '0.842', '0.652'),
    'zero-shot MiniLM': ('0.512', '0.800', '0.875', '0.640'),
    'BM25 + centroid + nearest entry, fused': ('0.711', '0.916', '0.944', '0.803'),
    'zero-shot MiniLM, nearest entry + own text': ('0.659', '0.919', '0.959', '0.775'),
    'Lorentz 32': ('0.010', '0.9767', '1.000'),
    'Lorentz 10': ('0.027', '0.970', '0.998'),
    'Euclid 10': ('0.099', '0.793', '0.959'),
    'Euclid 32': ('0.042', '0.955', '0.987'),
}
COLD = {'BM25': baselines.bm25_distances, 'TF-IDF': baselines.tfidf_distances}
RANDOM_SEEDS = 3


class Corpus(NamedTuple):
    """What is asked and answered: the six-digit codes with their texts, and the entries.

    Attributes:
        documents: the c texts, by which columns are in them.
        entries: e texts; owners: (e,) the code of each; held_out, verbatim: (e,) booleans.
    """

    codes: list[str]
    documents: dict[str, list[str]]
    entries: list[str]
    owners: NDArray[np.intp]
    held_out: NDArray[np.bool_]
    verbatim: NDArray[np.bool_]


def read_corpus(folder: EditionFolder) -> Corpus:
    leaves = pl.read_parquet(folder.descriptions).filter(pl.col('level') == 6)
    activities = pl.read_parquet(folder.activities)
    place = {code: i for i, code in enumerate(leaves['code'])}
    joined = {
        name: leaves.select(pl.concat_str(columns, separator='. ', ignore_nulls=True))
        for name, columns in TEXTS.items()
    }
    return Corpus(
        codes=leaves['code'].to_list(),
        documents={name: texts.to_series().to_list() for name, texts in joined.items()},
        entries=activities['text'].to_list(),
        owners=np.array([place[code] for code in activities['code']]),
        held_out=(activities['split'] == 'heldout').to_numpy(),
        verbatim=activities['verbatim'].to_numpy(),
    )


def build_edition(folder: EditionFolder) -> None:
    source = os.environ.get('NAICS_SOURCE_DIR')
    for step in steps_of(folder, Path(source) if source else None, MINILM):
        if step.name.endswith('_workbook') or step.name in ('descriptions', 'activities'):
            step.run(lambda line: None)


def scores(distance: NDArray[np.floating], owners: NDArray[np.intp], corpus: Corpus) -> list[float]:
    figures = retrieval_metrics(distance, owners, corpus.codes)
    return [figures[name] for name in RETRIEVAL]


def cold(folder: EditionFolder, method: str, text: str) -> dict[str, list[float]]:
    """Ask every entry, of no code of which an entry was seen; also those that stand in no text."""
    corpus = read_corpus(folder)
    distance = COLD[method](corpus.documents[text], corpus.entries)
    return {
        'all': scores(distance, corpus.owners, corpus),
        'unquoted': scores(distance[~corpus.verbatim], corpus.owners[~corpus.verbatim], corpus),
    }


def warm(folder: EditionFolder, seed: int | None) -> list[float]:
    """Ask the held-out entries, or a random fifth, given the other entries."""
    corpus = read_corpus(folder)
    asked = corpus.held_out if seed is None else random_fifth(len(corpus.entries), seed)
    texts = np.array(corpus.entries, dtype=object)
    distance = baselines.lexical_distances(
        corpus.documents[FULL], texts[~asked], corpus.owners[~asked], texts[asked]
    )
    return scores(distance, corpus.owners[asked], corpus)


def random_fifth(count: int, seed: int) -> NDArray[np.bool_]:
    asked = np.zeros(count, bool)
    asked[np.random.default_rng(seed).permutation(count)[: count // 5]] = True
    return asked


def zero_shot(folder: EditionFolder) -> dict[str, list[float]]:
    """Encode everything once, then ask as above."""
    corpus = read_corpus(folder)
    count = len(corpus.codes)
    documents = [text for texts in corpus.documents.values() for text in texts]
    vectors = sentence_vectors([*documents, *corpus.entries], backbone=MINILM)
    entries = vectors[len(documents) :]
    own = {name: vectors[i * count : (i + 1) * count] for i, name in enumerate(TEXTS)}
    found = {}
    for name in TEXTS:
        distance = 1.0 - entries @ own[name].T
        found[f'cold, {name}, all'] = scores(distance, corpus.owners, corpus)
        found[f'cold, {name}, unquoted'] = scores(
            distance[~corpus.verbatim], corpus.owners[~corpus.verbatim], corpus
        )
    splits = {'warm, held out': corpus.held_out} | {
        f'warm, random {seed}': random_fifth(len(entries), seed) for seed in range(RANDOM_SEEDS)
    }
    for name, asked in splits.items():
        distance = baselines.nearest_and_own_distances(
            own[FULL], entries[~asked], corpus.owners[~asked], entries[asked]
        )
        found[name] = scores(distance, corpus.owners[asked], corpus)
    return found


def ceiling(folder: EditionFolder, hyperbolic: bool, dimensions: int) -> list[float]:
    codes = pl.read_parquet(folder.descriptions)
    taxonomy = Taxonomy.from_codes(codes['code'].to_list())
    distance = fit_tree(taxonomy, dimensions=dimensions, hyperbolic=hyperbolic)
    figures = structure_metrics(distance, taxonomy, codes['title'].to_list())
    return [figures[name] for name in STRUCTURE]


def row(name: str, found: list[float], seconds: float | None, earlier: str | None = None) -> None:
    """Print a line: each figure, the earlier one in brackets, and CPU-seconds."""
    known = EARLIER[earlier] if earlier else [''] * len(found)
    cells = [
        f'{ours:.4f}' + (f' ({theirs})' if theirs else '')
        for ours, theirs in zip(found, known, strict=True)
    ]
    spent = f'{seconds:.0f}' if seconds is not None else ''
    print(f'| {name} | {" | ".join(cells)} | {spent} |', flush=True)


def head(columns: tuple[str, ...]) -> None:
    print(f'| | {" | ".join(columns)} | CPU-s |')
    print('|---|' + '---:|' * (len(columns) + 1), flush=True)


def print_cold(
    folder: EditionFolder, encoded: Figures, count: int, apply: Callable[..., Figures]
) -> None:
    print(f'\n## Cold: {count:,} entries asked, none seen\n')
    print(
        '"Unquoted" are the entries that stand word for word in no description or example: the '
        "only ones that a code's own text does not give away.\n"
    )
    head(RETRIEVAL)
    for text in TEXTS:
        for method in COLD:
            took = apply(cold, folder, method, text)
            full = text == FULL and method in EARLIER
            row(f'{method}, {text}', took.value['all'], took.cpu, method if full else None)
            row(f'{method}, {text}, unquoted', took.value['unquoted'], None)
        name = 'zero-shot MiniLM'
        found = encoded.value[f'cold, {text}, all']
        row(f'{name}, {text}', found, encoded.cpu, name if text == FULL else None)
        row(f'{name}, {text}, unquoted', encoded.value[f'cold, {text}, unquoted'], None)


def print_warm(
    folder: EditionFolder, encoded: Figures, count: int, apply: Callable[..., Figures]
) -> None:
    print(f'\n## Warm: {count:,} held-out entries asked, the others seen\n')
    print(
        'The earlier figures are of a random fifth, which holds quoted entries too; ours are of '
        f"the edition's split, and below them the mean of {RANDOM_SEEDS} random fifths.\n"
    )
    head(RETRIEVAL)
    lexical, nearest = list(EARLIER)[2:4]
    took = apply(warm, folder, None)
    row(lexical, took.value, took.cpu, lexical)
    fifths = [apply(warm, folder, seed).value for seed in range(RANDOM_SEEDS)]
    row(f'{lexical}, random fifths', np.mean(fifths, axis=0).tolist(), None, lexical)
    row(nearest, encoded.value['warm, held out'], encoded.cpu, nearest)
    fifths = [encoded.value[f'warm, random {seed}'] for seed in range(RANDOM_SEEDS)]
    row(f'{nearest}, random fifths', np.mean(fifths, axis=0).tolist(), None, nearest)


def print_ceilings(folder: EditionFolder, apply: Callable[..., Figures]) -> None:
    print('\n## Structure without text: the tree itself, fitted\n')
    head(STRUCTURE)
    for name, hyperbolic, dimensions in (
        ('Lorentz 32', True, 32),
        ('Lorentz 10', True, 10),
        ('Euclid 10', False, 10),
        ('Euclid 32', False, 32),
    ):
        took = apply(ceiling, folder, hyperbolic, dimensions)
        row(name, took.value, took.cpu, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print_head('Baselines and ceilings', 'baselines.py')
    with tempfile.TemporaryDirectory() as scratch, own_processes() as apply:
        folder = EditionFolder(Path(scratch), options.edition)
        build_edition(folder)
        corpus = read_corpus(folder)
        print(
            f'Edition {options.edition}, {len(corpus.codes):,} six-digit codes. In brackets '
            'earlier figures of 2022, by other code. One process encodes the texts '
            'for all lines of the zero-shot encoder, so that its CPU-seconds are the same in each.'
        )
        encoded = apply(zero_shot, folder)
        print_cold(folder, encoded, len(corpus.entries), apply)
        print_warm(folder, encoded, int(corpus.held_out.sum()), apply)
        print_ceilings(folder, apply)


if __name__ == '__main__':
    main()
