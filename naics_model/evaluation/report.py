"""What the evaluation report says: the figures of one run in tables, in words, and in pictures.

Plain values in, a `Document` out. Nothing is measured here, and how it looks is in `document`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from naics_model.evaluation.document import (
    Block,
    Bullets,
    Code,
    Document,
    Figure,
    Paragraph,
    Row,
    Section,
    Table,
    Terms,
)
from naics_model.evaluation.guide import SUMMARY, SUMMARY_OF
from naics_model.evaluation.guide_search import (
    COLD,
    COLD_UNQUOTED,
    EDITIONS,
    EXCLUSIONS,
    PLACEMENT,
    WARM,
    WARM_HARD,
)
from naics_model.evaluation.guide_space import COLLAPSE, RADIUS, STRUCTURE
from naics_model.evaluation.methods import BENCHMARKED, METHODS, MODELS
from naics_model.evaluation.metric import Metric, in_group
from naics_model.evaluation.report_training import duration, provenance, training
from naics_model.evaluation.runs import Run


@dataclass(frozen=True)
class Evaluation:
    """Everything that one evaluation found out.

    Attributes:
        edition: the edition's name.
        codes: number of codes; `candidates` of them have six digits.
        entries: number of entries of the index; `held_out` of them are asked.
        metrics: figures by `<method>/<group>/<name>`, and `edition/spearman_ceiling`.
        said: what there is to say of models trained to be measured, by protocol, and of
            `bi_encoder`; what is not there was not trained.
        left_out: results that are there, but were made from other files than the edition has now.
        stages: the training runs in order; `refinement`: that run, if there is one.
        inputs: (path, sha256) of every file read.
        commands: (what, command line) of each measuring job and of the report itself.
        software: versions by name.
    """

    edition: str
    codes: int
    candidates: int
    entries: int
    held_out: int
    metrics: Mapping[str, float]
    said: Mapping[str, str]
    left_out: tuple[str, ...]
    stages: tuple[Run, ...]
    refinement: Run | None
    inputs: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    software: Mapping[str, str]

    @property
    def runs(self) -> tuple[Run, ...]:
        return (*self.stages, self.refinement) if self.refinement else self.stages

    def measured(self, methods: Iterable[str], group: str) -> tuple[str, ...]:
        """Return those of some methods that have figures in a group."""
        return tuple(
            name for name in methods if any(m.startswith(f'{name}/{group}/') for m in self.metrics)
        )


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
            Section('Search by words', _warm(e, pictures)),
            Section('Search with nothing known', _cold(e)),
            Section('Codes never seen', _unseen(e)),
            Section('New codes of this edition', _new(e)),
            Section('What a code excludes', _exclusions(e)),
            Section('Structure', _structure(e, pictures)),
            Section('From the general to the specific', _radius(e, pictures)),
            Section('Has it collapsed?', (_table(e, COLLAPSE, 'collapse'), _terms(COLLAPSE))),
            Section('Training', training(e.stages, e.runs, pictures.get('losses.png'))),
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
        f'{_percent(ours[best])} of cases; without a look at the known activities the refined '
        f'embeddings do so in {_percent(hits["refined"])}. The best baseline '
        f'({METHODS[bar].label}) does so in {_percent(others[bar])}: on this measure the model '
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
        f'{_percent(curved)} of cases in hyperbolic space and in {_percent(flat)} in flat space, '
        'its Euclidean control.',
    )


def _summary(e: Evaluation) -> list[Block]:
    return [
        _table(e, SUMMARY, methods=SUMMARY_OF),
        Paragraph(
            'The best figure of a row is bold; – means that the figure does not apply to the '
            'method. “Known” are the activities that are not held out.'
        ),
        _methods(SUMMARY_OF),
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


def _warm(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    methods = e.measured(METHODS, 'warm')
    return [
        Paragraph(
            f'{e.held_out:,} held-out activities are the questions, every six-digit code a '
            'possible answer. The other activities are known: a method may have read them, and may '
            'look at the nearest of them. The model encodes the question and looks for the nearest '
            'codes in the same space. Ties count against the method.'
        ),
        _table(e, WARM, methods=methods),
        *_said(e, ('warm', 'bi_encoder')),
        Paragraph(
            'The hard part: questions whose nearest known activity (by pieces of words, for all '
            'methods alike) belongs to another code, so that copying does not help.'
        ),
        _table(e, WARM_HARD, methods=methods),
        *_figure(
            pictures,
            'reliability.png',
            'Confidence against the share of right answers',
            'Without a look at the known activities. Left: how sure the model is of its first '
            'answer against how often it is right, in ten groups of equally many questions; on the '
            'diagonal it knows what it knows. Right: answering only the surest questions, how many '
            'of the answers are right. The '
            'confidence is a softmax over all codes whose one temperature was fitted on the other '
            'half of the questions.',
        ),
        *_figure(
            pictures,
            'sectors.png',
            'First answers by sector',
            'Share of the questions of a sector (row) whose first answer, by the refined '
            'embeddings alone, is in a sector (column). The diagonal is right.',
        ),
        _terms(WARM),
        _methods(methods),
    ]


def _cold(e: Evaluation) -> list[Block]:
    methods = e.measured(METHODS, 'cold')
    return [
        Paragraph(
            f'All {e.entries:,} activities are the questions, and none is known: a code is found '
            'by its own text alone.'
        ),
        *_benchmarked(e, ('cold',)),
        _table(e, COLD, methods=methods),
        Paragraph(
            'Only the activities that stand word for word in no description or example, which '
            'would give them away:'
        ),
        _table(e, COLD_UNQUOTED, methods=methods),
    ]


def _unseen(e: Evaluation) -> list[Block]:
    blocks: list[Block] = [
        Paragraph(
            'Codes that were hidden from training altogether: as anchors, positives and negatives, '
            'in the graph, and in every text of another code that names them or repeats a '
            'sentence of theirs. Then they are placed by their own texts, and the nearest code one '
            'level up should be their parent.'
        ),
        *_benchmarked(e, ('heldout_codes', 'heldout_subtrees')),
    ]
    for group, which in (
        ('heldout_codes', 'One six-digit code in ten, drawn by sector:'),
        ('heldout_subtrees', 'One four-digit group in ten with all that is below it:'),
        ('parents', 'For comparison all six-digit codes, where nothing was trained or hidden:'),
    ):
        methods = e.measured(METHODS, group)
        if methods:
            rows = in_group(group, PLACEMENT)
            blocks += [Paragraph(which), _table(e, rows, methods=methods)]
    return [*blocks, _terms(PLACEMENT)]


def _new(e: Evaluation) -> list[Block]:
    methods = e.measured(METHODS, 'editions')
    if not methods:
        return [
            Paragraph(
                'Nothing is compared: this edition has none before it, or that one is not on disk.'
            )
        ]
    return [
        Paragraph(
            'Codes that the edition before does not have look for what they came from among its '
            'six-digit codes, by their texts; the official concordance knows the answers. A model '
            'that is asked was trained on the edition before alone.'
        ),
        *_benchmarked(e, ('editions',)),
        _table(e, EDITIONS, methods=methods),
        _terms(EDITIONS),
    ]


def _exclusions(e: Evaluation) -> list[Block]:
    if not e.measured(METHODS, 'exclusions'):
        return [Paragraph('No code of this edition excludes anything.')]
    return [
        Paragraph(
            'Of the model this is memory, not understanding of what is new: it has read these very '
            'sentences, and learned from them which codes are hard negatives. The baselines have '
            'not; but a sentence mostly quotes the title of the code that it names, so that '
            'matching words answers it.'
        ),
        _table(e, EXCLUSIONS, 'exclusions'),
        _terms(EXCLUSIONS),
    ]


def _structure(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    methods = e.measured(METHODS, 'structure')
    return [
        _table(e, STRUCTURE, methods=methods),
        *_said(e, ('warm',)),
        *_figure(
            pictures,
            'distances.png',
            'Spread of embedding distances at each tree distance',
            'All pairs of codes, by the number of steps between them in the tree; ten steps lead '
            'from one six-digit code to another of a different sector. The dot is the median. A '
            'good embedding climbs evenly in narrow shapes.',
        ),
        _terms(STRUCTURE),
        _methods(methods),
    ]


def _radius(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    return [
        _table(e, RADIUS, 'radius'),
        *_figure(
            pictures,
            'radius.png',
            'Mean radius by level',
            'Mean distance from the centre by number of digits; the bar spans the middle 90 % of '
            'the codes of a level.',
        ),
        *_figure(
            pictures,
            'disk.png',
            'All codes in the Poincaré disk, by sector',
            'All codes in the Poincaré disk, larger for fewer digits, lines to the parent. '
            'Projection: the direction is that of the tangent vector at the origin in the plane in '
            'which codes differ most (two principal axes), the distance from the centre is the '
            'true one (a radius r is drawn at tanh(r/2)). Radii are exact, angles only what two '
            'dimensions can show of many.',
        ),
        _terms(RADIUS),
    ]


def _benchmarked(e: Evaluation, protocols: Sequence[str]) -> list[Block]:
    """Return what is known of the models of some protocols, or how to train them."""
    said = _said(e, protocols)
    missing = [p for p in protocols if p not in e.said]
    if missing:
        said += [
            Paragraph(
                'No model was trained under this protocol yet, so that the baselines stand alone. '
                'This trains and measures it (or the job “benchmark” in Dagster):'
            ),
            Code(
                '\n'.join(
                    f'python -m naics_model.benchmark --edition {e.edition} --protocol {protocol}'
                    for protocol in missing
                )
            ),
        ]
    return said


def _said(e: Evaluation, names: Sequence[str]) -> list[Block]:
    return [Paragraph(e.said[name]) for name in names if name in e.said]


def _figure(pictures: Mapping[str, bytes], name: str, alt: str, caption: str) -> list[Block]:
    return [Figure(name, pictures[name], alt, caption)] if name in pictures else []


def _table(
    e: Evaluation,
    metrics: Sequence[Metric],
    group: str | None = None,
    methods: Sequence[str] = (),
) -> Table:
    """Return the table of some metrics, of given methods or of all that are measured in a group."""
    methods = methods or e.measured(METHODS, group or '')
    return Table(
        'Measure',
        tuple(METHODS[name].label for name in methods),
        tuple(
            Row(
                metric.label + {'higher': '\u00a0↑', 'lower': '\u00a0↓', None: ''}[metric.best],
                tuple(e.metrics.get(f'{name}/{metric.key}') for name in methods),
                metric.best,
                metric.decimals,
            )
            for metric in metrics
            if any(f'{name}/{metric.key}' in e.metrics for name in methods)
        ),
    )


def _terms(metrics: Sequence[Metric]) -> Terms:
    return Terms(tuple((metric.label, metric.meaning) for metric in metrics if metric.meaning))


def _methods(names: Sequence[str]) -> Terms:
    return Terms(tuple(METHODS[name] for name in names))


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %'
