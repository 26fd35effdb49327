"""What the evaluation report says: the figures of one run in tables, in words, and in pictures.

Plain values in, a `Document` out. Nothing is measured here, and how it looks is in `document`.
"""

from __future__ import annotations

from collections.abc import Mapping

from naics_model.evaluation.document import Block, Bullets, Document, Paragraph, Section
from naics_model.evaluation.guide import SUMMARY, SUMMARY_OF
from naics_model.evaluation.guide_space import COLLAPSE, RADIUS, STRUCTURE
from naics_model.evaluation.methods import BENCHMARKED, METHODS, MODELS
from naics_model.evaluation.report_ablation import ablation_blocks
from naics_model.evaluation.report_parts import (
    Evaluation,
    figure,
    method_terms,
    percent,
    said,
    table,
    terms,
)
from naics_model.evaluation.report_search import (
    cold_search,
    exclusions,
    new_codes,
    unseen_codes,
    warm_search,
)
from naics_model.evaluation.report_training import duration, provenance, training


def build_report(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> Document:
    """Return the report.

    Args:
        evaluation: what was found.
        pictures: PNG bytes by file name; one that is not there is left out.
    """
    e = evaluation
    return Document(
        title=f'How good are the NAICS embeddings? Edition {e.edition}',
        subtitle=f'{e.codes:,} codes, {e.candidates:,} of them with six digits; '
        f'{e.held_out:,} held-out activities asked.',
        lead=_lead(e),
        sections=(
            Section('Summary', _summary(e)),
            Section('Read with care', (Bullets(_caveats(e)),)),
            Section('Search by words', warm_search(e, pictures)),
            Section('Search with nothing known', cold_search(e)),
            Section('Codes never seen', unseen_codes(e)),
            Section('New codes of this edition', new_codes(e)),
            Section('What a code excludes', exclusions(e)),
            Section('Structure', _structure(e, pictures)),
            Section('From the general to the specific', _radius(e, pictures)),
            Section('Has it collapsed?', (table(e, COLLAPSE, 'collapse'), terms(COLLAPSE))),
            Section('Training', training(e.stages, e.runs, pictures)),
            *(
                [Section('What the dynamic curriculum does', ablation_blocks(e.ablation))]
                if e.ablation
                else []
            ),
            Section('Commands and versions', provenance(e.runs, e.commands, e.inputs, e.software)),
        ),
    )


def _lead(e: Evaluation) -> tuple[str, ...]:
    hits = {name: e.metrics[f'{name}/warm/hit_at_1'] for name in e.measured(METHODS, 'warm')}
    ours = {name: hits[name] for name in hits if name in MODELS}
    others = {name: hits[name] for name in hits if name not in (*MODELS, *BENCHMARKED)}
    best, bar = (max(them, key=them.__getitem__) for them in (ours, others))
    verdict = 'beats' if ours[best] > others[bar] else 'does not beat'
    return (
        f'Asked with activities that stand in no text the model reads, the model at its best '
        f'({METHODS[best].label}) puts the right one of {e.candidates:,} codes first in '
        f'{percent(ours[best])} of cases; without a look at the known activities the refined '
        f'embeddings do so in {percent(hits["refined"])}. The best baseline '
        f'({METHODS[bar].label}) does so in {percent(others[bar])}: on this measure the model '
        f'{verdict} it.',
        f'Distances between codes follow the tree with a rank correlation of '
        f'{e.metrics["refined/structure/spearman"]:.3f} after refinement and '
        f'{e.metrics["text/structure/spearman"]:.3f} before; '
        f'{e.metrics["edition/spearman_ceiling"]:.3f} is the most that distances without ties can '
        f'reach on this tree.',
        *_control(hits),
    )


def _control(hits: Mapping[str, float]) -> tuple[str, ...]:
    """Return how the encoder does in hyperbolic and in flat space, where both were trained."""
    if not set(BENCHMARKED) <= set(hits):
        return ()
    curved, flat = (hits[name] for name in BENCHMARKED)
    return (
        f'Trained alike on the same texts, the encoder alone puts the right code first in '
        f'{percent(curved)} of cases in hyperbolic space and in {percent(flat)} in flat space, '
        'its Euclidean control.',
    )


def _summary(e: Evaluation) -> list[Block]:
    return [
        table(e, SUMMARY, methods=SUMMARY_OF),
        Paragraph(
            'The best figure of a row is bold; – means that the figure does not apply to the '
            'method. “Known” are the activities that are not held out; the model knows the other '
            'phrases that it was trained on as well.'
        ),
        method_terms(SUMMARY_OF),
    ]


def _caveats(e: Evaluation) -> tuple[str, ...]:
    total = duration(sum(run.seconds for run in e.runs))
    smoke = [run.name for run in e.runs if run.profile == 'smoke']
    caveats = [
        f'This model was trained with the “smoke” profile ({", ".join(smoke)}), for {total} in '
        'all: it shows that every part works, not what the method can do.'
        if smoke
        else f'This model was trained for {total} in all.'
    ] * bool(e.runs)
    return (
        *caveats,
        'Structure and radius are measured on the very codes that were seen in training. They '
        'show that the geometry holds the tree, which can be memorised without reading a word, as '
        'the columns “no text” do; they say nothing about codes never seen.',
        'The held-out activities were never seen: they stand in no text that the model or a '
        'baseline reads, and no checkpoint was chosen by them. Activities that a text quotes are '
        'therefore not among them, which makes these questions harder than the whole index.',
        'All baselines read the title, the description and the illustrative examples of each '
        'code; the model reads its exclusions as well.',
        'Where it is not said that figures are means over seeds, they are of one run with one '
        'seed: differences of a point or two may be chance.',
        *(
            f'Left out, because it was made from other files than the edition has now: {name}.'
            for name in e.left_out
        ),
    )


def _structure(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    methods = e.measured(METHODS, 'structure')
    return [
        table(e, STRUCTURE, methods=methods),
        *said(e, ('warm',)),
        *figure(
            pictures,
            'distances.png',
            'Spread of embedding distances at each tree distance',
            'All pairs of codes, by the number of steps between them in the tree; ten steps lead '
            'from one six-digit code to another of a different sector. The dot is the median. A '
            'good embedding climbs evenly in narrow shapes.',
        ),
        terms(STRUCTURE),
        method_terms(methods),
    ]


def _radius(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    return [
        table(e, RADIUS, 'radius'),
        *figure(
            pictures,
            'radius.png',
            'Mean radius by level',
            'Mean distance from the centre by number of digits; the bar spans the middle 90 % of '
            'the codes of a level.',
        ),
        *figure(
            pictures,
            'disk.png',
            'All codes in the Poincaré disk, by sector',
            'All codes in the Poincaré disk, larger for fewer digits, lines to the parent. '
            'Projection: the direction is that of the tangent vector at the origin in the plane in '
            'which codes differ most (two principal axes), the distance from the centre is the '
            'true one (a radius r is drawn at tanh(r/2)). Radii are exact, angles only what two '
            'dimensions can show of many.',
        ),
        terms(RADIUS),
    ]
