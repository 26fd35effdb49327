-- The definition of a triplet, and of its hardness.
--
-- Positive: another code of the anchor's sector. Negative: farther from the anchor than the
-- positive, and neither ancestor nor descendant of the anchor. Farther implies that it is not the
-- positive itself.
--
-- Both inputs are sorted by distance before the join. The join keeps that order within an anchor,
-- so that hardness and distances come out in long runs: half the bytes of an order by index, and
-- no slower.

create table positives as
with targets as (
    -- One bit per code: a lookup in a bit string takes the place of a second join, which would
    -- look up every one of the triplets in the exclusions (measured on 2022: 15 instead of 23
    -- CPU-seconds).
    select
        code_idx,
        bitstring_agg(target_idx, 0::usmallint, getvariable('last_idx')) as excluded_bits
    from exclusions
    group by code_idx
)
select
    pairs.code_idx as anchor_idx,
    pairs.other_idx as positive_idx,
    pairs.half_distance as positive_distance,
    targets.excluded_bits
from pairs
left join targets on targets.code_idx = pairs.other_idx
where pairs.half_distance < 20
order by anchor_idx, positive_distance, positive_idx;

create table negatives as
select
    pairs.code_idx as anchor_idx,
    pairs.other_idx as negative_idx,
    pairs.half_distance as negative_distance,
    exclusions.code_idx is not null as excluded_by_anchor
from pairs
left join exclusions
    on exclusions.code_idx = pairs.code_idx and exclusions.target_idx = pairs.other_idx
-- Lineal pairs are half a step nearer than a whole number of steps: odd in half units, and only
-- they are.
where pairs.half_distance % 2 = 0
order by anchor_idx, negative_distance, negative_idx;

-- In two parts, because of every ten triplets nine are of the first, which has less to ask
-- (measured on a fifth of 2022: 11.8 CPU-seconds, 15.1 as one).
create view triplets as
-- Another sector: farther than any positive.
select
    anchor_idx,
    positive_idx,
    negative_idx,
    case
        when excluded_by_anchor then 8
        -- `is not null` first: many positives have no cross-references, and get_bit costs more than
        -- the test.
        when excluded_bits is not null and get_bit(excluded_bits, negative_idx) = 1 then 8
        else 1
    end::utinyint as hardness,
    positive_distance,
    negative_distance
from positives
join negatives using (anchor_idx)
where negative_distance = 20
union all
-- The same sector.
select
    anchor_idx,
    positive_idx,
    negative_idx,
    case
        when excluded_by_anchor then 8
        when excluded_bits is not null and get_bit(excluded_bits, negative_idx) = 1 then 8
        when negative_distance - positive_distance <= 1 then 7
        when negative_distance - positive_distance <= 2 then 6
        when negative_distance - positive_distance <= 4 then 5
        when negative_distance - positive_distance <= 6 then 4
        when negative_distance - positive_distance <= 8 then 3
        else 2
    end::utinyint as hardness,
    positive_distance,
    negative_distance
from positives
join negatives using (anchor_idx)
where negative_distance < 20 and negative_distance > positive_distance;
