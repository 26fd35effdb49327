"""What the comparison of refinements found, as a page.

Plain values in, a document out; the refinements are made and measured in the room `benchmark`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from naics_model.evaluation.document import Block, Document, Paragraph, Row, Section, Table

FIGURES = {
    'structure/spearman': 'Spearman',
    'structure/spearman_within_sectors': 'within sectors',
    'structure/edge_map': 'edge mAP',
    'structure/average_distortion': 'distortion',
    'warm/mrr': 'search: MRR',
    'known_warm/mrr': 'with known: MRR',
    'heldout_codes/parent_hit_at_1': 'unseen: parent@1',
    'unseen/spearman': 'unseen: Spearman',
    'unseen/mrr': 'unseen: search MRR',
}
"""What is compared, and what a column calls it."""


def comparison(
    edition: str,
    found: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    profiles: tuple[str, str],
    seeds: Sequence[int],
) -> Document:
    """Return the page of a comparison.

    Args:
        edition: its name.
        found: for each way of refining, by its label, the figures of each of its seeds.
        profiles: of training, and of refinement.
        seeds: of the refinements.
    """
    named = ', '.join(map(str, seeds))
    asked = {
        name: label
        for name, label in FIGURES.items()
        if all(name in each for several in found.values() for each in several)
    }
    rows = tuple(
        Row(label, tuple(statistics.fmean(each[name] for each in several) for name in asked))
        for label, several in found.items()
    )
    blocks: list[Block] = [
        Paragraph(
            f'One model a protocol, trained with the profile “{profiles[0]}” and seed 0, refined '
            f'with the profile “{profiles[1]}” and seeds {named}. Structure and search are of the '
            'protocol “warm”: all codes are in the graph, and held-out activities are asked by the '
            'codes alone, and with the known activities beside them. What is unseen is of '
            '“heldout_codes”: hidden '
            'codes are attached by their texts, and asked for their parents, their distances to '
            'the codes that were seen, and their own activities.'
        ),
        Table('', tuple(asked.values()), rows),
    ]
    repeated = [several for several in found.values() if len(several) > 1]
    if repeated:
        widest = ', '.join(
            f'{label} {max(statistics.stdev(e[name] for e in several) for several in repeated):.3f}'
            for name, label in asked.items()
        )
        blocks.append(Paragraph(f'Largest standard deviation between seeds: {widest}.'))
    return Document(
        title=f'What refinement does: edition {edition}',
        subtitle=f'{len(found) - 1} ways of refining, seeds {named}.',
        lead=(),
        sections=(Section('Comparison', blocks),),
    )
