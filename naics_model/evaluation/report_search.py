"""The part of the report about questions in words: search, unseen codes, new codes, exclusions."""

from __future__ import annotations

from collections.abc import Mapping

from naics_model.evaluation.document import Block, Paragraph
from naics_model.evaluation.guide_search import (
    COLD,
    COLD_UNQUOTED,
    EDITIONS,
    EXCLUSIONS,
    PLACEMENT,
    WARM,
    WARM_HARD,
)
from naics_model.evaluation.methods import METHODS
from naics_model.evaluation.metric import in_group
from naics_model.evaluation.report_parts import (
    Evaluation,
    benchmarked,
    figure,
    method_terms,
    said,
    table,
    terms,
)


def warm_search(e: Evaluation, pictures: Mapping[str, bytes]) -> list[Block]:
    """Return what held-out activities were answered, the others known."""
    methods = e.measured(METHODS, 'warm')
    return [
        Paragraph(
            f'{e.held_out:,} held-out activities are the questions, every six-digit code a '
            'possible answer. The other activities are known: a method may have read them, and may '
            'look at the nearest of them. The model encodes the question and looks for the nearest '
            'codes in the same space. Ties count against the method.'
        ),
        table(e, WARM, methods=methods),
        *said(e, ('warm', 'bi_encoder')),
        Paragraph(
            'The hard part: questions whose nearest known activity (by pieces of words, for all '
            'methods alike) belongs to another code, so that copying does not help.'
        ),
        table(e, WARM_HARD, methods=methods),
        *figure(
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
        *figure(
            pictures,
            'sectors.png',
            'First answers by sector',
            'Share of the questions of a sector (row) whose first answer, by the refined '
            'embeddings alone, is in a sector (column). The diagonal is right.',
        ),
        terms(WARM),
        method_terms(methods),
    ]


def cold_search(e: Evaluation) -> list[Block]:
    """Return what all activities were answered, none known."""
    methods = e.measured(METHODS, 'cold')
    return [
        Paragraph(
            f'All {e.entries:,} activities are the questions, and none is known: a code is found '
            'by its own text alone.'
        ),
        *benchmarked(e, ('cold',)),
        table(e, COLD, methods=methods),
        Paragraph(
            'Only the activities that stand word for word in no description or example, which '
            'would give them away:'
        ),
        table(e, COLD_UNQUOTED, methods=methods),
    ]


def unseen_codes(e: Evaluation) -> list[Block]:
    """Return where codes hidden from training were placed."""
    blocks: list[Block] = [
        Paragraph(
            'Codes that were hidden from training altogether: as anchors, positives and negatives, '
            'in the graph, and in every text of another code that names them or repeats a '
            'sentence of theirs. Then they are placed by their own texts, and the nearest code one '
            'level up should be their parent.'
        ),
        *benchmarked(e, ('heldout_codes', 'heldout_folds', 'heldout_subtrees')),
    ]
    for group, which in (
        ('heldout_codes', 'One six-digit code in ten, drawn by sector:'),
        (
            'heldout_folds',
            'Every six-digit code that may be hidden, in five folds with models of their own:',
        ),
        ('heldout_subtrees', 'One four-digit group in ten with all that is below it:'),
        ('parents', 'For comparison all six-digit codes, where nothing was trained or hidden:'),
    ):
        methods = e.measured(METHODS, group)
        if methods:
            rows = in_group(group, PLACEMENT)
            blocks += [Paragraph(which), table(e, rows, methods=methods)]
    return [*blocks, terms(PLACEMENT)]


def new_codes(e: Evaluation) -> list[Block]:
    """Return what the codes that are new in this edition found as their predecessors."""
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
        *benchmarked(e, ('editions',)),
        table(e, EDITIONS, methods=methods),
        terms(EDITIONS),
    ]


def exclusions(e: Evaluation) -> list[Block]:
    """Return where sentences stand that name another code."""
    if not e.measured(METHODS, 'exclusions'):
        return [Paragraph('No code of this edition excludes anything.')]
    return [
        Paragraph(
            'Of the model this is memory, not understanding of what is new: it has read these very '
            'sentences, and learned from them which codes are hard negatives. The baselines have '
            'not; but a sentence mostly quotes the title of the code that it names, so that '
            'matching words answers it.'
        ),
        table(e, EXCLUSIONS, 'exclusions'),
        terms(EXCLUSIONS),
    ]
