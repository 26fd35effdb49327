"""The metrics of the points themselves: structure, radius, collapse.

Words only. How a metric is computed is said where it is computed; here is what it means to someone
who has never seen it.
"""

from __future__ import annotations

from naics_model.evaluation.metric import Metric

STRUCTURE = (
    Metric(
        'structure/spearman',
        'Spearman, all pairs',
        'Do codes that are farther apart in the tree stand farther apart in the space? Agreement '
        'of the two orders over all pairs of codes, from -1 to 1; 0 is no agreement.',
    ),
    Metric(
        'structure/pearson',
        'Pearson, all pairs',
        'The same question for the lengths themselves: 1 if they are proportional up to a shift.',
    ),
    Metric(
        'structure/spearman_within_sectors',
        'Spearman, within sectors',
        'The order again, over pairs of one sector only. Most pairs cross sectors, so the figure '
        'over all pairs can look good while the inside of a sector is a jumble.',
    ),
    Metric(
        'structure/pearson_within_sectors',
        'Pearson, within sectors',
        'The lengths again, over pairs of one sector only.',
    ),
    Metric(
        'structure/cophenetic_correlation',
        'Cophenetic correlation',
        'If one did not know the tree and built one by joining the nearest industries step by '
        'step, how well would it agree with the true one? From -1 to 1.',
    ),
    Metric(
        'structure/average_distortion',
        'Average distortion',
        'By what share distances miss the tree distances on average, after the best common scale. '
        '0 is a perfect drawing of the tree.',
        best='lower',
    ),
    Metric(
        'structure/worst_distortion',
        'Worst distortion',
        'How many times more the most stretched pair of codes is stretched than the least. 1 is a '
        'perfect drawing; left open where two codes share a place, because no factor is enough '
        'then.',
        best='lower',
        decimals=1,
    ),
    Metric(
        'structure/worst_distortion_middle',
        'Worst distortion, middle 99.8 %',
        'The same without the thousandth of pairs at either end.',
        best='lower',
        decimals=1,
    ),
    Metric(
        'structure/edge_map',
        'Edge mAP',
        "Are a code's parent and children nearer than all other codes? 1 if always.",
    ),
    Metric(
        'structure/edge_mean_rank',
        'Edge mean rank',
        'The mean place of a parent or child among all codes; 1 is best.',
        best='lower',
        decimals=1,
    ),
    Metric(
        'structure/closure_map',
        'Closure mAP',
        'Are all the codes above a code, up to its sector, nearer than all others? The codes below '
        'it count as others, so that this figure and the edge mAP can not both be 1: the exact '
        'distances of the 2022 tree have an edge mAP of 1 and a closure mAP of 0.49.',
    ),
    Metric(
        'structure/closure_mean_rank',
        'Closure mean rank',
        'The mean place of a code above among all codes; 1 is best, 5.3 is that of the exact '
        'distances of the 2022 tree.',
        best='lower',
        decimals=1,
    ),
    Metric(
        'structure/parent_hit_at_1',
        'Parent hit@1',
        'How often the nearest code one level up is the parent.',
    ),
    Metric(
        'structure/parent_mrr',
        'Parent MRR',
        'Mean of 1 / place of the parent among the codes one level up.',
    ),
    Metric(
        'structure/parent_hit_at_1_nontrivial',
        'Parent hit@1, non-trivial',
        'The same without the easy cases: only children, and children named like their parent.',
    ),
    Metric(
        'structure/parent_mrr_nontrivial',
        'Parent MRR, non-trivial',
        'Mean of 1 / place of the parent, without the easy cases.',
    ),
    Metric(
        'structure/child_at_5',
        'Child@5',
        'Of the codes one level down that are nearest to a code (five, or as many as it has '
        'children if these are fewer), the share that are its children.',
    ),
    Metric(
        'structure/sibling_confusion',
        'Sibling confusion',
        'How often the nearest industry of an industry with siblings is none of them: it has '
        'another parent.',
        best='lower',
    ),
    Metric(
        'structure/leaf_ndcg_at_5',
        'Leaf NDCG@5',
        'The next question for the five nearest.',
    ),
    Metric(
        'structure/leaf_ndcg_at_10',
        'Leaf NDCG@10',
        'Are the ten nearest industries of an industry its closest relatives, the closest first? '
        '1 is the best order.',
    ),
    Metric(
        'structure/leaf_ndcg_at_20',
        'Leaf NDCG@20',
        'The same for the twenty nearest.',
    ),
    Metric(
        'structure/tie_share',
        'Tied distances',
        'Share of distances that a code has to more than one other. Ties count against an '
        'embedding in every rank above. Codes whose texts are the same coincide before refinement.',
        best='lower',
    ),
)

RADIUS = (
    Metric(
        'radius/parent_nearer_origin',
        'Parent nearer the centre',
        'Share of codes that stand farther from the centre than their parent. General codes '
        'belong near the centre, specific ones far out.',
    ),
    Metric(
        'radius/spearman_with_level',
        'Spearman of radius and level',
        'Does the distance from the centre grow with the number of digits? 1 if always.',
    ),
    *(
        Metric(
            f'radius/mean_level_{level}',
            f'Mean radius, {level} digits',
            '',
            best=None,
            decimals=2,
        )
        for level in (2, 3, 4, 5, 6)
    ),
)

COLLAPSE = (
    Metric(
        'collapse/mean_distance',
        'Mean distance',
        'Mean distance between two codes; near 0 the points have shrunk into one.',
        best=None,
        decimals=2,
    ),
    Metric(
        'collapse/distance_spread',
        'Spread of distances',
        'Standard deviation of the distances over their mean; near 0 all codes are equally far '
        'from each other and no order is left.',
        best=None,
    ),
    Metric(
        'collapse/coincident_share',
        'Codes on top of another',
        'Share of codes that share their place with another one.',
        best='lower',
    ),
    Metric(
        'collapse/effective_dimensions',
        'Effective dimensions',
        'How many directions the embedding really uses; 1 is a line.',
        best=None,
        decimals=1,
    ),
    Metric(
        'collapse/collapsed',
        'Collapsed',
        '1 if the embedding tells codes apart no more: mean distance below 0.05, more than 90 % '
        'of codes on top of another, or fewer than 1.5 effective dimensions.',
        best='lower',
        decimals=0,
    ),
)
