"""The table of codes and their texts: `descriptions.parquet`, the published schema.

Three workbooks meet here: titles come from the codes workbook (those in the descriptions workbook
carry a stray superscript T), texts from the descriptions workbook, exclusions from the
cross-references workbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.editions import Edition
from naics_model.corpus.text import (
    FURNITURE,
    MARKUP,
    DescriptionParts,
    codes_named_in,
    cross_reference_sentence,
    take_apart,
    tidy,
)
from naics_model.corpus.workbooks import read_table
from naics_model.errors import DataError
from naics_model.storage.tables import Column, Table
from naics_model.taxonomy.tree import NoTreeError, Taxonomy, normalise_code, parent_of

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
        Column('examples', pl.String(), 'Its illustrative examples, one a line; null where none.'),
        Column(
            'excluded',
            pl.String(),
            'What is classified elsewhere: each cross-reference sentence once, one a line; null '
            'where none.',
        ),
        Column(
            'excluded_codes',
            pl.List(pl.String()),
            'The codes that these sentences name, each once, in their order, without the code '
            'itself; null where none.',
        ),
        Column('printed_code', pl.String(), 'The code as it is printed, such as 31-33.'),
        Column('parent', pl.String(), 'The code one level up; null for a sector.'),
    ),
)

_CORRECT = 'correct the workbook, or fetch it again.'


def build_descriptions(
    edition: Edition, codes_path: Path, descriptions_path: Path, cross_references_path: Path
) -> pl.DataFrame:
    """Build the table of codes and their texts from an edition's workbooks.

    Returns:
        `TABLE`, one row for each code in the order of the codes workbook. `examples`, `excluded`
        and `excluded_codes` are null where the workbooks print none for that very code.

    Raises:
        WorkbookError: a file is no workbook or has another layout.
        DataError: the workbooks contradict each other, or the codes are no tree; the message names
            the file and, where there is one, the row of the sheet.
    """
    rows = read_table(codes_path, edition.workbook('codes'))
    printed = [tidy(code or '') for code in rows['code']]
    titles = [tidy(title or '') for title in rows['title']]
    try:
        taxonomy = Taxonomy.from_codes([normalise_code(code) for code in printed])
    except NoTreeError as error:
        place = _place(codes_path, [rows['row'][position] for position in error.positions])
        raise DataError(f'{place}: {error.problem}; {_CORRECT}') from None

    parts, places = _read_parts(edition, descriptions_path, taxonomy)
    sentences = _read_cross_references(edition, cross_references_path, taxonomy)
    excluded_codes = [
        [k for k in codes_named_in('\n'.join(sentences.get(code, [])), taxonomy.index) if k != code]
        for code in taxonomy.codes
    ]
    texts = _resolve(parts, places, taxonomy, dict(zip(taxonomy.codes, titles, strict=True)))
    return pl.DataFrame(
        {
            'index': range(len(taxonomy)),
            'level': taxonomy.levels,
            'code': taxonomy.codes,
            'title': titles,
            'description': [texts[code] for code in taxonomy.codes],
            'examples': [parts[code].examples for code in taxonomy.codes],
            'excluded': ['\n'.join(sentences.get(code, [])) or None for code in taxonomy.codes],
            'excluded_codes': [codes or None for codes in excluded_codes],
            'printed_code': printed,
            'parent': [parent_of(code) for code in taxonomy.codes],
        },
        schema=TABLE.schema,
    )


def taxonomy_of(frame: pl.DataFrame) -> Taxonomy:
    """Return the tree of the codes of a descriptions table, in its order."""
    return Taxonomy.from_codes(frame['code'].to_list())


def _place(path: Path, rows: Sequence[int]) -> str:
    """Return where some rows of a sheet are, as a person finds them in Excel."""
    return f'{path}, row{"s" if len(rows) > 1 else ""} {", ".join(map(str, rows))}'


def _unlisted(path: Path, row: int, code: str) -> DataError:
    return DataError(
        f'{_place(path, [row])}: {code!r} is no code of the codes workbook; fetch all workbooks '
        'of one edition.'
    )


def _read_parts(
    edition: Edition, path: Path, taxonomy: Taxonomy
) -> tuple[dict[str, DescriptionParts], dict[str, str]]:
    """Return code -> its description, taken apart, and code -> its place in the workbook."""
    table = read_table(path, edition.workbook('descriptions'))
    codes = [normalise_code(code or '') for code in table['code']]
    rows: dict[str, list[int]] = {}
    for code, row in zip(codes, table['row'], strict=True):
        rows.setdefault(code, []).append(row)
    _same_codes(path, rows, taxonomy)
    places = {code: _place(path, numbers) for code, numbers in rows.items()}
    return dict(zip(codes, map(take_apart, table['text']), strict=True)), places


def _same_codes(path: Path, rows: dict[str, list[int]], taxonomy: Taxonomy) -> None:
    """Check that each code of the edition has one row, and no other code has one."""
    for code, numbers in rows.items():
        if code not in taxonomy.index:
            raise _unlisted(path, numbers[0], code)
        if len(numbers) > 1:
            raise DataError(f'{_place(path, numbers)}: all describe code {code}; {_CORRECT}')
    missing = [code for code in taxonomy.codes if code not in rows]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise DataError(
            f'{path} has no row for {", ".join(missing[:5])}{more}, which the codes workbook '
            'lists; fetch all workbooks of one edition.'
        )


def _read_cross_references(
    edition: Edition, path: Path, taxonomy: Taxonomy
) -> dict[str, list[str]]:
    """Return code -> its cross-reference sentences, each once, in order."""
    rows = read_table(path, edition.workbook('cross_references'))
    sentences: dict[str, list[str]] = {}
    for printed, cell, row in rows.select('code', 'text', 'row').iter_rows():
        code = normalise_code(printed or '')
        if code not in taxonomy.index:
            raise _unlisted(path, row, code)
        sentence = cross_reference_sentence(cell or '')
        if sentence and sentence not in sentences.setdefault(code, []):
            sentences[code].append(sentence)
    return sentences


def _resolve(
    parts: dict[str, DescriptionParts],
    places: dict[str, str],
    taxonomy: Taxonomy,
    titles: dict[str, str],
) -> dict[str, str]:
    """Return the description of every code: pointers followed, empty industry groups filled.

    A pointer takes the description only: examples and exclusions stay with the code under which
    they are printed, so that they are counted once.

    The Bureau leaves 154 industry groups (2022) undescribed. 140 of them have one industry: the
    group is that industry, and its text is theirs. The other 14 are what their industries are, so
    these are named. (2017: 155 = 139 + 16.) An undescribed code with no children stays empty, for
    the check to find.
    """
    children: dict[str, list[str]] = {}
    for code in taxonomy.codes:
        if (parent := parent_of(code)) is not None:
            children.setdefault(parent, []).append(code)

    def described(code: str, asked_by: tuple[str, ...] = ()) -> str:
        target = parts[code].points_to
        if target is not None:
            if target not in parts or target in asked_by:
                raise DataError(
                    f'{places[code]}: the description of {code} points to {target}, which has '
                    f'none of its own; {_CORRECT}'
                )
            return described(target, (*asked_by, code))
        if parts[code].description:
            return parts[code].description
        match children.get(code, []):
            case []:
                return ''
            case [only]:
                return described(only, (*asked_by, code))
            case several:
                return f'This group comprises: {"; ".join(titles[child] for child in several)}.'

    return {code: described(code) for code in taxonomy.codes}


def check_descriptions(frame: pl.DataFrame, edition: Edition) -> list[Check]:
    """Check the guarantees that every later step relies on. All are blocking.

    Args:
        frame: a table as `TABLE` has it.
        edition: for the expected counts.
    """
    counts = dict(frame.group_by('level').len().iter_rows())
    wrong = [
        {'level': level, 'expected': expected, 'found': counts.get(level, 0)}
        for level, expected in edition.counts.items()
        if counts.get(level, 0) != expected
    ]
    valid = pl.Series(frame['code'])
    parent_level = frame.select(pl.col('code').alias('parent'), parent_level='level').unique(
        'parent'
    )
    with_parent = frame.join(parent_level, on='parent', how='left')
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
            else f'The number of codes differs from edition {edition.name} on some levels.',
            offending=tuple(wrong),
        ),
        no_rows(
            'codes_unique',
            frame.filter(pl.col('code').is_duplicated()).select('index', 'code'),
            'Every code stands once.',
            'rows share their code with another row.',
        ),
        no_rows(
            'parents_present',
            with_parent.filter(
                (pl.col('level') > 2)
                & (pl.col('parent_level') + 1 != pl.col('level')).fill_null(True)
            ).select('code', 'parent'),
            'Every code below the sectors has its parent one level up.',
            'codes have no parent one level up.',
        ),
        no_rows(
            'no_empty_text',
            texts.filter(
                (pl.col('column').is_in(['title', 'description']) & pl.col('text').is_null())
                | (pl.col('text').str.strip_chars() == '')
            ),
            'Every code has a title and a description.',
            'titles or descriptions are empty.',
        ),
        no_rows(
            'no_markup',
            texts.filter(pl.col('text').str.contains(MARKUP)),
            'No text holds HTML.',
            'texts hold HTML tags or entities.',
        ),
        no_rows(
            'no_stubs',
            texts.filter((pl.col('column') != 'excluded') & pl.col('text').str.contains(FURNITURE)),
            'No text holds a heading, pointer or stub of the printed manual.',
            'texts hold a heading, pointer or stub of the printed manual.',
        ),
        no_rows(
            'excluded_codes_valid',
            frame.select('code', pl.col('excluded_codes').alias('target'))
            .explode('target')
            .drop_nulls('target')
            .filter(
                ~pl.col('target').is_in(valid.implode()) | (pl.col('target') == pl.col('code'))
            ),
            'Every excluded code is another code of the edition.',
            'excluded codes are no code of the edition, or the code itself.',
        ),
        no_rows(
            'no_stray_t',
            frame.filter(pl.col('title').str.contains(r'[a-z)]T$')).select('code', 'title'),
            'No title ends in the stray T of the descriptions workbook.',
            'titles end in the stray T of the descriptions workbook.',
        ),
    ]
