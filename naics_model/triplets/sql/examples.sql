-- One triplet of each hardness for one telling anchor: at the deepest level, the code with the most
-- cross-references. Of its positives those nearest its own level come first: they read best.

-- A variable, because a variable's value narrows both sides of the join; a subquery in its place
-- would only choose from all triplets (measured on 2022: 14 CPU-seconds).
set variable example_anchor = (
    select idx from codes order by level desc, len(excluded_codes) desc nulls last, idx limit 1
);

with chosen as (
    select
        hardness,
        min((
            -positive.level::tinyint,
            positive_idx,
            negative_idx,
            positive_distance,
            negative_distance
        )) as best
    from triplets
    join codes as positive on positive.idx = positive_idx
    where anchor_idx = getvariable('example_anchor')
    group by hardness
)
select
    hardness,
    anchor.code || ' ' || anchor.title,
    positive.code || ' ' || positive.title,
    negative.code || ' ' || negative.title,
    best[4] / 2,
    best[5] / 2
from chosen
join codes as anchor on anchor.idx = getvariable('example_anchor')
join codes as positive on positive.idx = best[2]
join codes as negative on negative.idx = best[3]
order by hardness desc;
