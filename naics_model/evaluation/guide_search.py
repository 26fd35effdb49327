"""The metrics of questions in words: search, unseen codes, new codes, exclusions.

Words only. How a metric is computed is said where it is computed; here is what it means to someone
who has never seen it.
"""

from __future__ import annotations

from naics_model.evaluation.metric import Metric, in_group

RETRIEVAL = (
    Metric(
        'retrieval/hit_at_1',
        'Hit@1',
        'How often the right six-digit code is the first answer to an activity in words.',
    ),
    Metric('retrieval/hit_at_5', 'Hit@5', 'How often it is among the first five answers.'),
    Metric('retrieval/hit_at_10', 'Hit@10', 'How often it is among the first ten answers.'),
    Metric(
        'retrieval/mrr',
        'MRR',
        'Mean of 1 / place of the right code: 1 if always first, 0.5 if always second.',
    ),
    Metric(
        'retrieval/prefix_accuracy_2',
        'First answer: sector right',
        'How often the first answer is at least in the right sector.',
    ),
    Metric(
        'retrieval/prefix_accuracy_3',
        'First answer: 3 digits right',
        'How often it is at least in the right subsector.',
    ),
    Metric(
        'retrieval/prefix_accuracy_4',
        'First answer: 4 digits right',
        'How often it is at least in the right industry group.',
    ),
    Metric(
        'retrieval/prefix_accuracy_5',
        'First answer: 5 digits right',
        'How often it is at least in the right five-digit industry.',
    ),
    Metric(
        'retrieval/macro_hit_at_1',
        'Hit@1, mean over codes',
        'Hit@1 with each code counting once. Some codes have hundreds of activities, others one: '
        'if this figure is lower, the rarely asked codes are found less often.',
    ),
    *(
        Metric(
            f'retrieval/macro_{name}',
            f'{label}, mean over codes',
            f'{label} with each code counting once.',
        )
        for name, label in (('hit_at_5', 'Hit@5'), ('hit_at_10', 'Hit@10'), ('mrr', 'MRR'))
    ),
)

# Of a part of the questions the hits and the MRR are shown; the other figures are in the metrics.
_FIRST = 4

# Held-out entries, the others known.
WARM = (
    *in_group('warm', RETRIEVAL, explained=True),
    Metric(
        'warm/calibration_error',
        'Calibration error',
        'How far a stated confidence is from the share of answers that are right, on average over '
        'ten groups of questions. Only of methods that state one.',
        best='lower',
    ),
)
WARM_HARD = (
    Metric(
        'warm_hard/share',
        'Hard questions',
        'Share of questions whose nearest known activity belongs to another code. Repeating the '
        'code of the nearest known activity gets every one of them wrong.',
        best=None,
    ),
    *in_group('warm_hard', RETRIEVAL[:_FIRST], note=', hard part'),
)
# Every entry, none known.
COLD = in_group('cold', RETRIEVAL, explained=True)
COLD_UNQUOTED = in_group('cold_unquoted', RETRIEVAL[:_FIRST])

PLACEMENT = (
    Metric('placement/asked', 'Codes asked', '', best=None, decimals=0),
    Metric(
        'placement/parent_hit_at_1',
        'Parent hit@1',
        'How often the nearest five-digit code to a six-digit one is its parent. Without '
        'the easy cases: only children, and children named like their parent.',
    ),
    Metric('placement/parent_hit_at_5', 'Parent hit@5', 'How often it is among the nearest five.'),
    Metric('placement/parent_mrr', 'Parent MRR', 'Mean of 1 / place of the parent.'),
    Metric('placement/all_levels_asked', 'Codes asked, all levels', '', best=None, decimals=0),
    Metric(
        'placement/all_levels_parent_hit_at_1',
        'Parent hit@1, all levels',
        'The same for every hidden code below the sectors, among the codes one level up.',
    ),
    Metric(
        'placement/all_levels_parent_mrr',
        'Parent MRR, all levels',
        'Mean of 1 / place of the parent, for every hidden code.',
    ),
    Metric(
        'placement/trivial_parent_hit_at_1',
        'Parent hit@1, easy cases',
        'The cases that are left out above, on all levels: only children, and children named like '
        'their parent.',
    ),
)
EDITIONS = (
    Metric('editions/asked', 'New codes', '', best=None, decimals=0),
    Metric(
        'editions/hit_at_1',
        'Predecessor first',
        'How often the nearest code of the edition before is one that the new code came from, as '
        'the official concordance has it.',
    ),
    Metric(
        'editions/hit_at_3', 'Predecessor among three', 'How often one is among the nearest three.'
    ),
    Metric(
        'editions/recall_at_1',
        'Recall@1',
        'Of each new code the share of its predecessors that stands first, on average. Many came '
        'from several old codes, so that 1 is out of reach.',
    ),
    Metric('editions/recall_at_3', 'Recall@3', 'Share of them among the nearest three.'),
    Metric('editions/mrr', 'MRR', 'Mean of 1 / place of the first predecessor.'),
)

EXCLUSIONS = (
    Metric(
        'exclusions/nearer_target',
        'Exclusion nearer its target',
        'A code’s text says what belongs to another code instead. How often such a sentence, '
        'read alone, stands nearer the code that it names than the code in whose text it stands; '
        'guessing gives 0.5.',
    ),
    Metric(
        'exclusions/macro_nearer_target',
        'Exclusion nearer its target, mean over codes',
        'The same with each excluding code counting once.',
    ),
)
