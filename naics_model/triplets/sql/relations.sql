-- The small tables that every triplet question reads. Distances are in half units (10.0 is 20).
-- Variables: descriptions, distances (paths of the edition's Parquet files).

create table codes as
select "index"::usmallint as idx, code, title, level::utinyint as level, excluded_codes
from read_parquet(getvariable('descriptions'))
order by idx;

-- Each code with each code that its cross-references name. A target that is no code of the edition
-- keeps a null, for the check after loading.
create table exclusions as
select source.idx as code_idx, target.idx as target_idx, source.code, source.target_code
from (select idx, code, unnest(excluded_codes) as target_code from codes) as source
left join codes as target on target.code = source.target_code
order by code_idx, target_idx;

-- All ordered pairs; the file has each unordered pair once.
create table pairs as
with once as (
    select
        idx_i::usmallint as i,
        idx_j::usmallint as j,
        round(2 * distance)::utinyint as half_distance
    from read_parquet(getvariable('distances'))
)
select i as code_idx, j as other_idx, half_distance from once
union all
select j, i, half_distance from once
order by code_idx, half_distance, other_idx;
