-- The rows counted by hardness and distances, 114 kinds for 976 million rows of 2022, and what is
-- wrong with each kind: every rule on these three columns is then asked once a kind, not once a row.
-- Variable: triplets (path of the edition's Parquet file).
--
-- The three columns span 14 bits. In a table of so many counters, one for each combination, a row
-- costs less than by hashing (measured on a busy machine: 13 CPU-seconds, 17.5 by hashing).
set perfect_ht_threshold = 16;

with kinds as (
    select hardness, positive_distance, negative_distance, count(*) as triplets
    from read_parquet(getvariable('triplets'))
    group by all
), told as (
    select
        *,
        -- Signed, because a wrong row may have the negative nearer.
        negative_distance::integer - positive_distance::integer as margin,
        case
            when negative_distance = 20 then 1
            when margin <= 1 then 7
            when margin <= 2 then 6
            when margin <= 4 then 5
            when margin <= 6 then 4
            when margin <= 8 then 3
            else 2
        end as by_distance
    from kinds
)
-- A null is no hardness and no distance; `is not true` takes it for the fault that it is.
select
    hardness,
    positive_distance,
    negative_distance,
    triplets,
    (hardness between 1 and 8) is not true as of_no_hardness,
    -- Within a sector up to 16 half units; an odd distance is one of an ancestor or descendant, and
    -- nothing else is nearer than siblings, which are 4 apart.
    (
        positive_distance between 1 and 16
        and negative_distance between 4 and 20
        and negative_distance % 2 = 0
    ) is not true as of_no_distance,
    (margin > 0) is not true as not_farther,
    hardness between 1 and 7 and margin > 0 and hardness <> by_distance as of_other_hardness
from told
order by all;
