-- The triplets as people read them: codes and whole distances, under the column names that the
-- published tables use. A view only: the indices are what is stored.
--
-- DuckDB turns a condition on anchor_code or positive_code into a range of indices, and skips the
-- parts of the file outside it: on 2022 a question about one anchor reads 0.5 of 20 MB (measured:
-- 0.05 CPU-seconds). Negatives are everywhere in the file: negative_code alone reads all of it (6
-- CPU-seconds).
--
-- Variables: descriptions, triplets (paths of the edition's Parquet files).

create or replace view published_triplets as
with codes as (
    select "index"::usmallint as idx, code from read_parquet(getvariable('descriptions'))
)
select
    anchor.code as anchor_code,
    positive.code as positive_code,
    negative.code as negative_code,
    hardness,
    -- A cross-reference of the anchor or of the positive names the negative.
    hardness = 8 as excluded,
    -- Another sector, whether or not a cross-reference leads there.
    negative_distance = 20 as unrelated,
    positive_distance / 2 as positive_distance,
    negative_distance / 2 as negative_distance,
    -- Subtracted as whole numbers first: the columns are unsigned, and the negative is always
    -- farther.
    (negative_distance - positive_distance) / 2 as distance_diff
from read_parquet(getvariable('triplets'))
join codes as anchor on anchor.idx = anchor_idx
join codes as positive on positive.idx = positive_idx
join codes as negative on negative.idx = negative_idx;
