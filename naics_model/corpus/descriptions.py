"""The table of codes and their texts: `descriptions.parquet`, the published schema.

Three workbooks meet here: titles come from the codes workbook (those in the descriptions workbook
carry a stray superscript T), texts from the descriptions workbook, exclusions from the
cross-references workbook.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.editions import Edition, shown_editions_file
from naics_model.corpus.manual import (
    read_codes,
    read_cross_references,
    read_descriptions,
    resolve,
)
from naics_model.corpus.text import FURNITURE, MARKUP, codes_named_in
from naics_model.storage.tables import Column, Table, check_nulls
from naics_model.taxonomy.tree import Taxonomy, parent_of

TABLE = Table(
    name='descriptions',
    row='one code, in the order of the codes workbook.',
    columns=(
        Column('index', pl.UInt32(), 'Position of the code, from 0; other tables refer to it.'),
        Column('level', pl.UInt8(), 'Number of digits: 2 (sector) to 6 (national industry).'),
        Column('code', pl.String(), 'The code; a range sector is its first prefix (31-33 is 31).'),
        Column('title', pl.String(), 'Its title, from the codes workbook.'),
        Column(
            'description',
            pl.String(),
            'What the code means, in paragraphs. Where the manual points to another code, the text '
            'of that code; where it leaves an industry group empty, the text of its only industry, '
            'or a sentence that names its industries.',
        ),
        Column(
            'examples',
            pl.String(),
            'Its illustrative examples, one a line; null where none.',
            nullable=True,
        ),
        Column(
            'excluded',
            pl.String(),
            'What is classified elsewhere: each cross-reference sentence once, one a line; null '
            'where none.',
            nullable=True,
        ),
        Column(
            'excluded_codes',
            pl.List(pl.String()),
            'The codes that these sentences name, each once, in their order, without the code '
            'itself; null where none.',
            nullable=True,
        ),
        Column('printed_code', pl.String(), 'The code as it is printed, such as 31-33.'),
        Column('parent', pl.String(), 'The code one level up; null for a sector.', nullable=True),
    ),
)


def build_descriptions(
    edition: Edition, codes_path: Path, descriptions_path: Path, cross_references_path: Path
) -> pl.DataFrame:
    """Build the table of codes and their texts from an edition's workbooks.

    Args:
        edition: says which sheets and columns they have.
        codes_path: the codes workbook, which gives codes, order and titles.
        descriptions_path: the descriptions workbook.
        cross_references_path: the cross-references workbook.

    Returns:
        `TABLE`, one row for each code in the order of the codes workbook. `examples`, `excluded`
        and `excluded_codes` are null where the workbooks print none for that very code.

    Raises:
        WorkbookError: a file is no workbook or has another layout.
        DataError: the workbooks contradict each other, or the codes are no tree; the message names
            the file and, where there is one, the row of the sheet. Or a file changed while it was
            read.
    """
    codes = read_codes(edition, codes_path)
    taxonomy = codes.taxonomy
    descriptions = read_descriptions(edition, descriptions_path, taxonomy)
    sentences = read_cross_references(edition, cross_references_path, taxonomy)
    excluded = ['\n'.join(sentences.get(code, [])) for code in taxonomy.codes]
    excluded_codes = [
        [named for named in codes_named_in(text, taxonomy.index) if named != code]
        for code, text in zip(taxonomy.codes, excluded, strict=True)
    ]
    texts = resolve(descriptions, codes)
    return pl.DataFrame(
        {
            'index': range(len(taxonomy)),
            'level': taxonomy.levels,
            'code': taxonomy.codes,
            'title': codes.titles,
            'description': [texts[code] for code in taxonomy.codes],
            'examples': [descriptions.parts[code].examples for code in taxonomy.codes],
            'excluded': [text or None for text in excluded],
            'excluded_codes': [named or None for named in excluded_codes],
            'printed_code': codes.printed,
            'parent': [parent_of(code) for code in taxonomy.codes],
        },
        schema=TABLE.schema,
    )


def taxonomy_of(frame: pl.DataFrame) -> Taxonomy:
    """Return the tree of the codes of a descriptions table, in its order.

    Args:
        frame: a table as `TABLE` has it.

    Raises:
        NoTreeError: the codes are no tree. It names neither a file nor a remedy, because it knows
            of none: a table that passed `check_descriptions` never raises it.
    """
    return Taxonomy.from_codes(frame['code'].to_list())


def check_descriptions(frame: pl.DataFrame, edition: Edition) -> list[Check]:
    """Check the guarantees that every later step relies on. All are blocking.

    Args:
        frame: a table as `TABLE` has it.
        edition: for the expected counts.
    """
    wrong = edition.differing_counts(dict(frame.group_by('level').len().iter_rows()))
    valid = pl.Series(frame['code'])
    parent_level = frame.select(pl.col('code').alias('parent'), parent_level='level').unique(
        'parent'
    )
    with_parent = frame.join(parent_level, on='parent', how='left')
    parents = [parent_of(code) if code else None for code in frame['code']]
    with_exclusions = frame['excluded'].count()
    texts = pl.concat(
        [
            frame.select('code', pl.lit(column).alias('column'), pl.col(column).alias('text'))
            for column in ('title', 'description', 'examples', 'excluded')
        ]
    )
    return [
        Check(
            name='counts_per_level',
            passed=not wrong,
            blocking=True,
            guarantee='Each level has as many codes as the edition.',
            sentence=f'{frame.height:,} codes, as edition {edition.name} has on each level.'
            if not wrong
            else f'The number of codes differs from edition {edition.name} on some levels; if the '
            f'Bureau changed it, change `counts` in {shown_editions_file()}.',
            offending=tuple(wrong),
        ),
        check_nulls(TABLE, frame),
        no_rows(
            'indices_in_order',
            frame.with_row_index('row')
            .filter(pl.col('index') != pl.col('row'))
            .select('row', 'index', 'code'),
            'The index counts the rows from 0.',
            'Rows have an index that is not their number',
        ),
        no_rows(
            'codes_unique',
            frame.filter(pl.col('code').is_duplicated()).select('index', 'code'),
            'Every code stands once.',
            'Rows share their code with another row',
        ),
        no_rows(
            'parents_present',
            with_parent.filter(
                (pl.col('level') > 2)
                & (pl.col('parent_level') + 1 != pl.col('level')).fill_null(True)
            ).select('code', 'parent'),
            'Every code below the sectors has its parent one level up.',
            'Codes have no parent one level up',
        ),
        no_rows(
            'codes_tell_the_tree',
            frame.select(
                'code', 'level', 'parent', parent_by_code=pl.Series(parents, dtype=pl.String)
            ).filter(
                ~pl.col('code').str.contains('^[0-9]{2,6}$')
                | (pl.col('level') != pl.col('code').str.len_chars())
                | pl.col('parent').ne_missing(pl.col('parent_by_code'))
            ),
            'Every code is of 2 to 6 digits; its level and its parent are what these say.',
            'Codes are not of 2 to 6 digits, or have another level or parent than these say',
        ),
        no_rows(
            'no_empty_text',
            texts.filter(
                (pl.col('column').is_in(['title', 'description']) & pl.col('text').is_null())
                | (pl.col('text').str.strip_chars() == '')
            ),
            'Every code has a title and a description, and no text is empty.',
            'Titles, descriptions, examples or exclusions are empty',
        ),
        no_rows(
            'no_markup',
            texts.filter(pl.col('text').str.contains(MARKUP)),
            'No text holds HTML.',
            'Texts hold HTML tags or entities',
        ),
        no_rows(
            'no_stubs',
            texts.filter((pl.col('column') != 'excluded') & pl.col('text').str.contains(FURNITURE)),
            'No text holds a heading, pointer or stub of the printed manual.',
            'Texts hold a heading, pointer or stub of the printed manual',
        ),
        no_rows(
            'excluded_codes_valid',
            frame.select('code', target='excluded_codes')
            .filter(pl.col('target').list.len() > 0)
            .explode('target')
            .filter(
                pl.col('target').is_null()
                | ~pl.col('target').is_in(valid.implode())
                | (pl.col('target') == pl.col('code'))
            ),
            'Every excluded code is another code of the edition.',
            'Excluded codes are null, no code of the edition, or the code itself',
        ),
        no_rows(
            'no_stray_t',
            frame.filter(pl.col('title').str.contains(r'[a-z)]T$')).select('code', 'title'),
            'No title ends in the stray T of the descriptions workbook.',
            'Titles end in the stray T of the descriptions workbook',
        ),
        Check(
            name='codes_with_exclusions',
            # Not of a workbook that was emptied: 51.5 % have some in 2022, 51.5 % in 2017, and
            # 45.5 % in the sample.
            passed=with_exclusions >= 0.1 * frame.height,
            blocking=True,
            guarantee='At least 10 % of the codes have exclusions.',
            sentence=f'{with_exclusions:,} of {frame.height:,} codes have exclusions (at least '
            '10 % must).',
        ),
    ]
