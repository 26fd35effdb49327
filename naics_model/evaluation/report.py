"""What the evaluation report says: the figures of one run in tables, in words, and in pictures.

Plain values in, a `Document` out. Nothing is measured here, and how it looks is in `document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from naics_model.evaluation.guide import (
    COLLAPSE,
    RADIUS,
    RETRIEVAL,
    STRUCTURE,
    SUMMARY,
    Metric,
)
from naics_model.evaluation.runs import Run
from naics_model.triplets.hardness import HARDNESS

MODELS = (('text', 'Text'), ('refined', 'Refined'))
BASELINES = (('tfidf', 'TF-IDF'), ('zero_shot', 'Zero-shot'))


@dataclass(frozen=True)
class Evaluation:
    """Everything that one evaluation found out.

    Attributes:
        edition: the edition's name.
        codes: number of codes; `candidates` of them have six digits.
        queries: number of held-out activities asked about, of `held_out` in the edition.
        metrics: figures by `<method>/<group>/<name>`, and `edition/spearman_ceiling`.
        stages: the training runs in order; `refinement`: that run, if given.
        inputs: (path, sha256) of every file read.
        command: the command line that made the report.
        software: versions by name.
    """

    edition: str
    codes: int
    candidates: int
    queries: int
    held_out: int
    metrics: Mapping[str, float]
    stages: tuple[Run, ...]
    refinement: Run | None
    inputs: tuple[tuple[str, str], ...]
    command: str
    software: Mapping[str, str]

    @property
    def runs(self) -> tuple[Run, ...]:
        return (*self.stages, self.refinement) if self.refinement else self.stages


def build_report(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> Document:
    """Return the report.

    Args:
        evaluation: what was found.
        pictures: PNG bytes by file name: `distances.png`, `radius.png`, `disk.png`, and
            `losses.png` where a run kept its history.
    """
    e = evaluation
    return Document(
        title=f'How good are the NAICS embeddings? Edition {e.edition}',
        subtitle=f'{e.codes:,} codes, {e.candidates:,} of them with six digits; '
        f'{e.queries:,} held-out activities asked.',
        lead=_lead(e),
        sections=(
            Section('Summary', (_table(e, SUMMARY, (*MODELS, *BASELINES)), *_summary_notes(e))),
            Section('Read with care', (Bullets(_caveats(e)),)),
            Section(
                'Search by words',
                (
                    _table(e, RETRIEVAL, (*MODELS, *BASELINES)),
                    Paragraph(
                        'Each held-out activity is a question, every six-digit code a possible '
                        'answer. The model encodes the question and looks for the nearest codes in '
                        'the same hyperbolic space. TF-IDF compares pieces of words; zero-shot is '
                        'the packaged sentence encoder as it comes, by cosine. Ties count against '
                        'the method.'
                    ),
                    _terms(RETRIEVAL),
                ),
            ),
            Section(
                'Structure',
                (
                    _table(e, STRUCTURE, MODELS),
                    Figure(
                        'distances.png',
                        pictures['distances.png'],
                        'Spread of embedding distances at each tree distance',
                        'All pairs of codes, by the number of steps between them in the tree; ten '
                        'steps lead from one six-digit code to another of a different sector. The '
                        'dot is the median. A good embedding climbs evenly in narrow shapes.',
                    ),
                    _terms(STRUCTURE),
                ),
            ),
            Section(
                'From the general to the specific',
                (
                    _table(e, RADIUS, MODELS),
                    Figure(
                        'radius.png',
                        pictures['radius.png'],
                        'Mean radius by level',
                        'Mean distance from the centre by number of digits; the bar spans the '
                        'middle 90 % of the codes of a level.',
                    ),
                    Figure(
                        'disk.png',
                        pictures['disk.png'],
                        'All codes in the Poincaré disk, by sector',
                        'All codes in the Poincaré disk, larger for fewer digits, lines to the '
                        'parent. Projection: the direction is that of the tangent vector at the '
                        'origin in the plane in which codes differ most (two principal axes), the '
                        'distance from the centre is the true one (a radius r is drawn at '
                        'tanh(r/2)). Radii are exact, angles only what two dimensions can show of '
                        'many.',
                    ),
                    _terms(RADIUS),
                ),
            ),
            Section('Has it collapsed?', (_table(e, COLLAPSE, MODELS), _terms(COLLAPSE))),
            Section('Training', tuple(_training(e, pictures.get('losses.png')))),
            Section('Commands and versions', tuple(_provenance(e))),
        ),
    )


def _lead(e: Evaluation) -> tuple[str, ...]:
    hits = {name: e.metrics[f'{key}/retrieval/hit_at_1'] for key, name in (*MODELS, *BASELINES)}
    shown = {name: f'{100 * share:.1f} %' for name, share in hits.items()}
    baseline = max((name for _, name in BASELINES), key=hits.__getitem__)
    better = [name.lower() for _, name in MODELS if hits[name] > hits[baseline]]
    verdict = (
        f'On this measure the {" and the ".join(better)} embeddings beat both baselines.'
        if better
        else f'On this measure the model does not beat the better baseline, {baseline}.'
    )
    return (
        f'Asked with activities that stand in no text the model reads, the refined embeddings put '
        f'the right one of {e.candidates:,} codes first in {shown["Refined"]} of cases, the text '
        f'embeddings in {shown["Text"]}; TF-IDF does so in {shown["TF-IDF"]}, a sentence encoder '
        f'that never saw NAICS in {shown["Zero-shot"]}. {verdict}',
        f'Distances between codes follow the tree with a rank correlation of '
        f'{e.metrics["refined/structure/spearman"]:.3f} after refinement and '
        f'{e.metrics["text/structure/spearman"]:.3f} before; '
        f'{e.metrics["edition/spearman_ceiling"]:.3f} is the most that distances without ties can '
        f'reach on this tree.',
    )


def _summary_notes(e: Evaluation) -> list[Block]:
    return [
        Paragraph(
            'Text: the encoder reads a code’s texts. Refined: the same points after the graph '
            'network has moved them. The best figure of a row is bold; – means that the figure '
            'does not apply to the method.'
        )
    ]


def _caveats(e: Evaluation) -> tuple[str, ...]:
    caveats = [
        'Structure and radius are measured on the very codes that were seen in training. They '
        'show that the geometry holds the tree, which can be memorised without reading a word; '
        'they say nothing about codes never seen.',
        'The held-out activities were never seen: they stand in no text that the model or a '
        'baseline reads, and no checkpoint was chosen by them. Activities that a text quotes are '
        'therefore not among them, which makes these questions harder than the whole index.',
        'Both baselines read the title, the description and the illustrative examples of each '
        'code; the model reads its exclusions as well.',
        'This is one run with one seed; differences of a point or two may be chance.',
    ]
    smoke = [run.name for run in e.runs if run.profile == 'smoke']
    total = sum(run.seconds for run in e.runs)
    if smoke:
        caveats.insert(
            0,
            f'This model was trained with the “smoke” profile ({", ".join(smoke)}), for '
            f'{_duration(total)} in all: it shows that every part works, not what the method can '
            'do.',
        )
    elif e.runs:
        caveats.insert(
            0,
            f'This model was trained for {_duration(total)} in all. A model of the “smoke” profile '
            'is trained for minutes only and shows that every part works, not what the method can '
            'do.',
        )
    if e.queries < e.held_out:
        caveats.append(
            f'Only {e.queries:,} of the {e.held_out:,} held-out activities were asked, drawn at '
            'random with a fixed seed.'
        )
    return tuple(caveats)


def _training(e: Evaluation, losses: bytes | None) -> list[Block]:
    if not e.runs:
        return [Paragraph('No results of training jobs were given to this report.')]
    blocks: list[Block] = [
        Table(
            'Job',
            ('Epochs', 'Duration'),
            tuple(
                Row(
                    run.name,
                    (str(len(run.history)) if run.history else None, _duration(run.seconds)),
                )
                for run in e.runs
            ),
        )
    ]
    if losses is not None:
        blocks.append(
            Figure(
                'losses.png',
                losses,
                'Loss by epoch',
                'Loss by epoch, one panel for each job. Heights compare within a panel only: each '
                'job weighs other losses.',
            )
        )
    else:
        blocks.append(Paragraph('The jobs kept no loss by epoch.'))
    mixes = [_mix(run) for run in e.stages if run.requested and run.effective]
    if mixes:
        blocks.append(
            Paragraph(
                'Curriculum: the share of negatives of each hardness that a stage asks for, and '
                'the share that it saw in its last epoch. The margin is how many steps farther '
                'from the anchor the negative is than the positive.'
            )
        )
    return blocks + mixes


def _mix(run: Run) -> Table:
    requested, effective = run.requested or {}, run.effective or {}
    return Table(
        f'{run.name} (%)',
        ('requested', 'effective', 'gap'),
        tuple(
            Row(
                f'{hardness}: {HARDNESS.get(hardness, "")}'.rstrip(': '),
                (
                    100 * (asked := requested.get(hardness, 0.0)),
                    100 * (got := effective.get(hardness, 0.0)),
                    f'{100 * (got - asked):+.1f}',
                ),
                decimals=1,
            )
            for hardness in sorted(set(requested) | set(effective))
            if requested.get(hardness) or effective.get(hardness)
        ),
    )


def _provenance(e: Evaluation) -> list[Block]:
    commands = [f'# {run.name}\n{run.command}' for run in e.runs if run.command]
    return [
        Paragraph('The exact commands:'),
        Code('\n\n'.join([*commands, f'# this report\n{e.command}'])),
        Paragraph('The files that were read, by sha256:'),
        Code('\n'.join(f'{path}\n    {digest}' for path, digest in e.inputs)),
        Paragraph('Software: ' + ', '.join(f'{n} {v}' for n, v in e.software.items()) + '.'),
    ]


def _table(e: Evaluation, metrics: Sequence[Metric], methods: Sequence[tuple[str, str]]) -> Table:
    return Table(
        'Measure',
        tuple(name for _, name in methods),
        tuple(
            Row(
                metric.label + {'higher': ' ↑', 'lower': ' ↓', None: ''}[metric.best],
                tuple(e.metrics.get(f'{key}/{metric.key}') for key, _ in methods),
                metric.best,
                metric.decimals,
            )
            for metric in metrics
            if any(f'{key}/{metric.key}' in e.metrics for key, _ in methods)
        ),
    )


def _terms(metrics: Sequence[Metric]) -> Terms:
    return Terms(tuple((metric.label, metric.meaning) for metric in metrics if metric.meaning))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
