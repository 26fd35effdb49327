"""What a protocol asks of a trained model: the codes to be embedded, and the figures they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.encoder.queries import check_one_space, encode_texts
from naics_model.encoder.table import read_embeddings
from naics_model.encoder.tokens import MAX_LENGTH, build_token_cache
from naics_model.evaluation.asking import cold_figures, grouped, hard_part, warm_figures
from naics_model.evaluation.fused import fused_ranking
from naics_model.evaluation.measure import points_of, same_codes
from naics_model.evaluation.placement import (
    Placements,
    placement_figures,
    placements,
    together,
)
from naics_model.evaluation.questions import read_questions
from naics_model.evaluation.structure import structure_metrics
from naics_model.evaluation.succession import predecessors_of, succession_metrics
from naics_model.fusion.known import read_known
from naics_model.fusion.nodes import node_scores
from naics_model.geometry.arrays import distances_to
from naics_model.protocols.protocol import Protocol
from naics_model.protocols.redaction import asked_descriptions
from naics_model.protocols.splits import hidden_codes, read_code_splits
from naics_model.storage.files import read_parquet, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import LEVELS, Taxonomy
from naics_model.training.stages import LAST_STAGE

Log = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """The tables of codes that a trained model has to embed.

    Attributes:
        tables: by name, folders with the descriptions and the tokens of the codes.
    """

    tables: dict[str, EditionFolder]

    @property
    def token_caches(self) -> list[Path]:
        return [folder.token_cache for folder in self.tables.values()]

    def to_embed(self, run: EditionFolder) -> Iterator[tuple[Path, Path, Path]]:
        """Yield descriptions, token cache, and the table of embeddings that a run makes of them."""
        for name, folder in self.tables.items():
            yield folder.descriptions, folder.token_cache, embeddings_of(run, name)


def embeddings_of(run: EditionFolder, name: str) -> Path:
    """Return where a run keeps the embeddings of a table of codes."""
    return run.path / 'training' / f'{name}.parquet'


def prepare(
    folder: EditionFolder,
    view: EditionFolder,
    protocol: Protocol,
    backbone: str,
    max_length: int = MAX_LENGTH,
) -> Asked:
    """Write the texts and tokens of the codes that are asked about.

    Hidden codes have their own texts, the others those that the models have read, so that no text
    tells of a code that is new to it.

    Args:
        folder: the edition's files.
        view: what the models read.
        protocol: says what is hidden.
        backbone: the models' text encoder.
        max_length: texts are cut to so many tokens.
    """
    if protocol.hides is None and not protocol.of_edition_before:
        return Asked({'embeddings': view})
    asked = EditionFolder(view.path, 'asked')
    codes = read_parquet(folder.descriptions)
    if protocol.hides:
        codes = asked_descriptions(
            codes, hidden_codes(read_code_splits(folder.code_splits), protocol.hides)
        )
    write_parquet(codes, asked.descriptions)
    build_token_cache(
        asked.descriptions, asked.token_cache, backbone=backbone, max_length=max_length
    )
    before = {'before': view} if protocol.of_edition_before else {}
    return Asked({'embeddings': asked, **before})


def measure(
    folder: EditionFolder,
    view: EditionFolder,
    run: EditionFolder,
    protocol: Protocol,
    log: Log,
    table: Path | None = None,
) -> dict[str, float]:
    """Return the figures of one run, as `group/name`.

    Where codes are hidden, `<protocol>/...` and `flat_<protocol>/...`, see `place`.
    Under the protocol warm held-out entries are asked three times: `warm/...` by the codes'
    hyperbolic points, `flat_warm/...` by their flat points, and `known_warm/...` by the fused
    ranking, which knows the phrases of the view, too. Under cold, where all entries are asked,
    `cold/...` and `known_cold/...` likewise.

    Args:
        folder: the edition's files.
        view: what the run may read.
        run: the run's.
        protocol: what is asked.
        log: told the progress.
        table: other embeddings of the same codes in the same space, in place of the run's own.
    """
    if protocol.of_edition_before:
        return _succession(folder, run)
    if protocol.hides:
        return _placed_figures(protocol, place(folder, run, protocol, table))
    embeddings = read_embeddings(table or embeddings_of(run, 'embeddings'))
    questions = read_questions(folder.descriptions, folder.activities)
    same_codes(embeddings, questions.taxonomy.codes, protocol.name)
    points = points_of(embeddings, protocol.name, '')
    figures = grouped(
        'structure', structure_metrics(points.distance, questions.taxonomy, questions.titles)
    )
    asked = questions.entries(questions.held_out) if protocol.activities else questions.texts
    known = read_known(view.phrases, questions.candidate_codes)
    texts = list(dict.fromkeys([*asked, *known.texts]))
    encoded = encode_texts(run.stage(LAST_STAGE) / 'model', texts, run.queries, log)
    check_one_space(embeddings, encoded)
    ranking = fused_ranking(embeddings, questions.candidates, encoded, known, asked)
    found = {'': ranking.codes, 'flat_': ranking.flat, 'known_': ranking.fused}
    hard = hard_part(questions) if protocol.activities else None
    for prefix, distance in found.items():
        groups = (
            cold_figures(distance, questions)
            if hard is None
            else warm_figures(distance, questions, hard)
        )
        figures |= {f'{prefix}{name}': value for name, value in groups.items()}
    return figures


def measure_together(
    folder: EditionFolder, runs: Sequence[EditionFolder], protocol: Protocol
) -> dict[str, float]:
    """Return the figures of a protocol with parts, over the answers of all parts.

    Each code counts once. The figures are not averages of the parts' figures.

    Args:
        folder: the edition's files.
        runs: one for each part, in their order.
        protocol: the whole.
    """
    placed = [place(folder, run, part) for run, part in zip(runs, protocol.parts, strict=True)]
    return _placed_figures(
        protocol, {name: together([part[name] for part in placed]) for name in placed[0]}
    )


def _placed_figures(protocol: Protocol, placed: Mapping[str, Placements]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for reading, each in placed.items():
        figures |= grouped(f'{reading}{protocol.name}', placement_figures(each))
    return figures


def place(
    folder: EditionFolder, run: EditionFolder, protocol: Protocol, table: Path | None = None
) -> dict[str, Placements]:
    """Return where a run puts the codes that were hidden from it, by reading.

    * `''`: by the distances of hyperbolic points.
    * `flat_`: by the flat reading, a parent's own document and all its known leaves together (see
      `fusion.nodes`); left out where the table has no unit vectors.

    Args:
        folder: the edition's files.
        run: the run's.
        protocol: says which codes are hidden.
        table: other embeddings of the same codes, in place of the run's own.
    """
    assert protocol.hides is not None
    embeddings = read_embeddings(table or embeddings_of(run, 'embeddings'))
    questions = read_questions(folder.descriptions, folder.activities)
    same_codes(embeddings, questions.taxonomy.codes, protocol.name)
    hidden = set(hidden_codes(read_code_splits(folder.code_splits), protocol.hides))
    asked = np.array([code in hidden for code in questions.taxonomy.codes])
    distances = {'': points_of(embeddings, protocol.name, '').distance}
    if embeddings.unit is not None:
        distances['flat_'] = _from_nodes(embeddings.unit, questions.taxonomy, asked)
    return {
        reading: placements(distance, questions.taxonomy, questions.titles, asked)
        for reading, distance in distances.items()
    }


def _from_nodes(
    unit: NDArray[np.floating], taxonomy: Taxonomy, asked: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """Return (n, n) minus the scores of nodes for the asked codes; infinite for all other pairs."""
    leaves = np.flatnonzero((taxonomy.levels == LEVELS[-1]) & ~asked)
    nodes = np.flatnonzero(taxonomy.levels < LEVELS[-1])
    below = (taxonomy.ancestors[leaves] == nodes[:, None, None]).any(axis=2)
    distance = np.full((len(unit), len(unit)), np.inf)
    distance[np.ix_(asked, nodes)] = -node_scores(unit[asked], unit[nodes], unit[leaves], below)
    return distance


def measure_warm(
    folder: EditionFolder, run: EditionFolder, protocol: Protocol, log: Log
) -> dict[str, float]:
    """Return what `measure` has of the points alone, `warm/...`, `warm_hard/...` and the same with
    `flat_`, for a fifth of the texts to encode."""
    embeddings = read_embeddings(embeddings_of(run, 'embeddings'))
    questions = read_questions(folder.descriptions, folder.activities)
    same_codes(embeddings, questions.taxonomy.codes, protocol.name)
    texts = questions.entries(questions.held_out)
    kept = run.queries
    model = run.stage(LAST_STAGE) / 'model'
    encoded = encode_texts(model, list(dict.fromkeys(texts)), kept, log)
    check_one_space(embeddings, encoded)
    rows, hard = questions.candidates, hard_part(questions)
    from_points = distances_to(encoded.of(texts), embeddings.tangent[rows], embeddings.curvature)
    figures = warm_figures(from_points, questions, hard)
    if embeddings.unit is not None:
        from_flat = 1 - encoded.units_of(texts) @ embeddings.unit[rows].T
        flat = warm_figures(from_flat, questions, hard)
        figures |= {f'flat_{name}': value for name, value in flat.items()}
    return figures


def _succession(folder: EditionFolder, run: EditionFolder) -> dict[str, float]:
    """Ask the codes that the edition before does not have what they came from."""
    new, old = (read_embeddings(embeddings_of(run, name)) for name in ('embeddings', 'before'))
    six = np.flatnonzero(old.levels == 6)
    before = [old.codes[i] for i in six]
    truth = predecessors_of(pl.read_parquet(folder.concordance), before)
    place = {code: i for i, code in enumerate(new.codes)}
    rows = np.array([place[code] for code in truth], np.intp)
    distance = distances_to(new.tangent[rows], old.tangent[six], old.curvature)
    return grouped('editions', succession_metrics(distance, truth, before))
