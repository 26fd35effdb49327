-- Which of the rows of `wanted` are not among the triplets: the rows themselves, each once.
-- Variable: triplets (path of the edition's Parquet file).
--
-- The pairs of anchor and positive go first, as one number: the 976 million rows of 2022 are then
-- looked up in a small set, and only what is left is compared whole (measured for 1.4 million rows:
-- 8 CPU-seconds, 19 without).

with rows as (
    select distinct * from wanted
), of_these_pairs as (
    select *
    from read_parquet(getvariable('triplets'))
    where anchor_idx::uinteger * 65536 + positive_idx in (
        select anchor_idx::uinteger * 65536 + positive_idx from rows
    )
)
from rows
anti join of_these_pairs using (
    anchor_idx, positive_idx, negative_idx, hardness, positive_distance, negative_distance
)
order by all;
