"""Codes that were not in the graph: attached by their texts, refined through their parents.

A held-out code, or one of a new edition, has no free vector and was in no loss. Its text says under
which parent it belongs, and the network moves it from there; no other code moves.

python -m naics_model.refinement attach --run_dir DIR --embeddings F --descriptions F --new F
--out F
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.errors import DataError
from naics_model.geometry.lorentz import pairwise_distance
from naics_model.jobs.command import require_file
from naics_model.refinement.graph import EdgeSettings, exclusion_edges, tree_edges
from naics_model.refinement.hgcn import HyperbolicGCN
from naics_model.refinement.inputs import Files, read_inputs
from naics_model.refinement.module import RefinementModule, RefinementSettings, RefinementWeights
from naics_model.storage.files import read_json, read_parquet, write_parquet

_DESCRIPTION = """\
Place codes that a refinement has not seen beside those that it has: each is attached to the code
one level up whose text is nearest to its own, and moved from there by the fitted network. No other
code moves. The table that is written has the columns of the one that is read, and `parent`, the
code that each was attached to."""

_EPILOG = """\
example, for codes of a new edition that the model of 2022 has embedded:
  python -m naics_model.refinement attach --run_dir data/2022/refinement \\
      --embeddings data/2022/training/text_embeddings.parquet \\
      --descriptions data/2022/corpus/descriptions.parquet \\
      --new new_codes.parquet --out placed.parquet"""


class Attached(NamedTuple):
    """New codes in the space of the refined ones.

    Attributes:
        places: float32 (m, d) tangent vectors.
        parents: int64 (m,) the parent that each was attached to: a position among the n codes of
            the graph and, after them, the m new ones; -1 for a code with none above it.
    """

    places: Tensor
    parents: NDArray[np.int64]


@torch.no_grad()
def attach_codes(
    network: HyperbolicGCN,
    edges: EdgeSettings,
    parents: NDArray[np.integer],
    levels: NDArray[np.integer],
    text: Tensor,
    new_levels: NDArray[np.integer],
) -> Attached:
    """Place codes that are not in the graph.

    The parent of a code is the nearest code one level up, text to text; new codes may be parents,
    too.

    Args:
        network: fitted, in eval mode.
        edges: the settings of its graph; exclusions are left out.
        parents: (n,) of the graph's codes.
        levels: (n,) theirs.
        text: (m, d) tangent vectors of the new codes as the encoder sees them.
        new_levels: (m,) theirs.
    """
    n = len(levels)
    every_text = torch.cat([network.text, text])
    every_level = np.concatenate([levels, new_levels])
    found = np.full(len(text), -1)
    for level in np.unique(new_levels):
        new, above = np.flatnonzero(new_levels == level), np.flatnonzero(every_level == level - 1)
        if len(above):
            distance = pairwise_distance(text[new], every_text[above], network.curvature)
            found[new] = above[distance.argmin(dim=1).numpy()]
    kin = tree_edges(np.concatenate([parents, found]), edges, speaking=n)
    return Attached(network.attach(text, kin, exclusion_edges([], ())), found)


def attach(arguments: Sequence[str]) -> None:
    """Read the command line, and place new codes.

    Raises:
        DataError: a file is missing, or the files do not belong together.
    """
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.refinement attach',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, what in (
        ('run_dir', 'folder of the finished refinement'),
        ('embeddings', 'the text embeddings that were refined'),
        ('descriptions', 'of the same codes'),
        ('new', 'text embeddings of the new codes, by the same encoder'),
        ('out', 'where the placed codes go'),
    ):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar='PATH', help=what)
    given = parser.parse_args(arguments)
    inputs = read_inputs(Files(given.embeddings, given.descriptions), print)
    require_file(given.new, '--new')
    new, rows = read_embeddings(given.new), read_parquet(given.new)
    if new.tangent.shape[1:] != inputs.embeddings.tangent.shape[1:] or (
        new.curvature != inputs.embeddings.curvature
    ):
        raise DataError(
            f'{given.new} and {given.embeddings} are of different spaces: embed both with the '
            'same encoder.'
        )
    if known := set(new.codes) & set(inputs.embeddings.codes):
        raise DataError(
            f'{len(known)} codes of {given.new} are in the graph already ({min(known)}): leave '
            'them out.'
        )
    details = read_json(given.run_dir / 'result.json')
    settings = settings_of(details['details']['settings'])
    module = RefinementModule(
        torch.from_numpy(np.array(inputs.embeddings.tangent)),
        inputs.taxonomy,
        inputs.excluded,
        inputs.queries,
        curvature=inputs.embeddings.curvature,
        settings=settings,
        seed=0,
    )
    module.load_trainable(Path(details['files']['checkpoint']['path']))
    taxonomy = inputs.taxonomy
    found = attach_codes(
        module.eval().network,
        settings.edges,
        taxonomy.parents,
        taxonomy.levels,
        torch.from_numpy(np.array(new.tangent)),
        new.levels,
    )
    names = np.array([*taxonomy.codes, *new.codes, ''])
    table = embedding_table(rows, found.places, new.curvature, new.unit).with_columns(
        pl.Series('parent', names[found.parents].tolist())
    )
    write_parquet(table, given.out)
    print(f'{len(rows):,} codes were placed: {given.out}')


def settings_of(values: dict[str, Any]) -> RefinementSettings:
    """Return the settings that a job's `result.json` says it was run with."""
    return RefinementSettings(
        **{
            **values,
            'edges': EdgeSettings(**values['edges']),
            'weights': RefinementWeights(**values['weights']),
        }
    )
