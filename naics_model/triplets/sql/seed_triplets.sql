-- Seed mode: the triplets of the tables that were published before this project. Their counts are
-- known, so that they test loading and joining; nothing is published with this definition.
--
-- Every pair has a direction: to the same or a deeper level and, where the first two digits
-- are the same (31, 32 and 33 differ), to a higher number. Its distance is looked up only towards
-- a higher number inside a sector; any other pair is 10.0 apart. Anchor and positive, anchor and
-- negative, positive and negative must all be such pairs.
--
-- The counts rest on four traps:
--   * Inside a range sector, a pair such as 321 -> 311 is 10.0 apart. So 311 is no positive of 321,
--     but it is a negative.
--   * Hardness 1 asks how far the negative is from the positive, not from the anchor. Of anchor
--     321, positive 3211 and negative 3121, only 3211 -> 3121 goes to a lower number: 10.0 apart.
--   * A descendant of the anchor may be a negative.
--   * Cross-references count only where the positive has them.

create table directed_pairs as
with numbered as (
    select idx, level, code::uinteger as number, code[:2]::utinyint as prefix from codes
)
select
    pairs.code_idx,
    pairs.other_idx,
    case when code.number < other.number then half_distance else 20 end::utinyint as half_distance,
    half_distance < 20 as same_sector,
    other.level,
    other.number,
    other.prefix
from pairs
join numbered as code on code.idx = pairs.code_idx
join numbered as other on other.idx = pairs.other_idx
where code.level <= other.level and (code.prefix <> other.prefix or code.number < other.number);

create table positives as
with targets as (
    -- A bit string, as in triplets.sql.
    select
        code_idx,
        bitstring_agg(target_idx, 0::usmallint, getvariable('last_idx')) as excluded_bits
    from exclusions
    group by code_idx
)
select
    pair.code_idx as anchor_idx,
    pair.other_idx as positive_idx,
    pair.half_distance as positive_distance,
    pair.level,
    pair.number,
    pair.prefix,
    targets.excluded_bits
from directed_pairs as pair
left join targets on targets.code_idx = pair.other_idx
where pair.half_distance < 20
order by anchor_idx, positive_distance, positive_idx;

create table negatives as
select
    code_idx as anchor_idx,
    other_idx as negative_idx,
    half_distance as negative_distance,
    same_sector,
    level,
    number,
    prefix
from directed_pairs
order by anchor_idx, negative_distance, negative_idx;

-- Positives of another sector's negatives, once for each level that those may have: the level is then
-- part of what is joined by, and no pair is made to be thrown away (measured on 2022, with the bits
-- below: a tenth less processor time, and a seventh less to write). Of the cross-references only those
-- to another sector are left, so that fewer positives have bits to look into.
create table far_positives as
with targets as (
    select
        exclusions.code_idx,
        bitstring_agg(target_idx, 0::usmallint, getvariable('last_idx')) as excluded_bits
    from exclusions
    join pairs on pairs.code_idx = exclusions.code_idx and pairs.other_idx = exclusions.target_idx
    where pairs.half_distance = 20
    group by exclusions.code_idx
)
select
    anchor_idx,
    positive_idx,
    positive_distance,
    negative.level,
    targets.excluded_bits
from positives
join (select distinct level from codes) as negative on negative.level >= positives.level
left join targets on targets.code_idx = positive_idx
order by anchor_idx, negative.level, positive_distance, positive_idx;

create table far_negatives as
select anchor_idx, negative_idx, negative_distance, level
from negatives
where not same_sector
order by anchor_idx, level, negative_idx;

-- In two parts, because of every 14 triplets 13 are of the first, which has less to ask (measured
-- on 2022: 11 CPU-seconds, 16 as one).
create view triplets as
-- Another sector: 10.0 from both, and a pair with the positive at any number.
select
    anchor_idx,
    positive_idx,
    negative_idx,
    case
        when excluded_bits is not null and get_bit(excluded_bits, negative_idx) = 1 then 8
        else 1
    end::utinyint as hardness,
    positive_distance,
    negative_distance
from far_positives
join far_negatives using (anchor_idx, level)
union all
-- The same sector.
select
    anchor_idx,
    positive_idx,
    negative_idx,
    case
        when excluded_bits is not null and get_bit(excluded_bits, negative_idx) = 1 then 8
        when n.number < p.number then 1
        when negative_distance - positive_distance <= 1 then 7
        when negative_distance - positive_distance <= 2 then 6
        when negative_distance - positive_distance <= 4 then 5
        when negative_distance - positive_distance <= 6 then 4
        when negative_distance - positive_distance <= 8 then 3
        else 2
    end::utinyint as hardness,
    positive_distance,
    negative_distance
from positives as p
join negatives as n using (anchor_idx)
where n.same_sector
    and negative_distance > positive_distance
    and p.level <= n.level
    and (p.prefix <> n.prefix or p.number < n.number);
