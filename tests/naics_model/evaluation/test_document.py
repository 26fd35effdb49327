"""The two forms of a document."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest

from naics_model.evaluation.document import (
    Bullets,
    Code,
    Document,
    Figure,
    Paragraph,
    Row,
    Section,
    Table,
    Terms,
    to_html,
    to_markdown,
)

VOID = {'meta', 'img', 'br', 'hr', 'link', 'input'}


class Outline(HTMLParser):
    """Collects start tags with attributes and text, and fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ''

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def document() -> Document:
    return Document(
        title='Fish & <chips>',
        subtitle='A report',
        lead=('It is good.',),
        sections=(
            Section(
                'First things',
                (
                    Table('Measure', ('A', 'B'), (Row('a|b', (0.5, 0.25), 'higher'),)),
                    Paragraph('x < y'),
                    Terms((('term', 'meaning'),)),
                    Bullets(('one', 'two')),
                ),
            ),
            Section('More', (Figure('p.png', b'PNG bytes', 'alt', 'caption'), Code('run <this>'))),
        ),
    )


@pytest.mark.parametrize(
    ('row', 'cells'),
    [
        (Row('', (0.5, 0.25), 'higher'), [('0.500', True), ('0.250', False)]),
        (Row('', (0.5, 0.25), 'lower'), [('0.500', False), ('0.250', True)]),
        (Row('', (0.5, 0.25)), [('0.500', False), ('0.250', False)]),
        # Equal as shown: both are best of three, none of two.
        (
            Row('', (0.5001, 0.5002, 0.1), 'higher'),
            [('0.500', True), ('0.500', True), ('0.100', False)],
        ),
        (Row('', (0.5001, 0.5002), 'higher'), [('0.500', False), ('0.500', False)]),
        # One alone has beaten nobody; what was not measured takes no part.
        (Row('', (0.5, None), 'higher'), [('0.500', False), ('–', False)]),
        (
            Row('', (1234.5, 'n/a', 7), 'lower', 1),
            [('1,234.5', False), ('n/a', False), ('7.0', True)],
        ),
    ],
)
def test_best_figure_of_a_row_stands_out(row, cells):
    assert row.cells() == cells


def test_markdown_has_every_part(document):
    text = to_markdown(document)
    assert text.startswith('# Fish & <chips>\n\nA report\n\nIt is good.\n\n## First things\n')
    assert '| Measure | A | B |\n|---|---:|---:|\n| a\\|b | **0.500** | 0.250 |' in text
    assert '* **term**: meaning' in text
    assert '![alt](figures/p.png)' in text
    assert '```\nrun <this>\n```' in text


def test_html_is_well_formed_escaped_and_needs_nothing_from_outside(document):
    page = Outline()
    page.feed(to_html(document))
    assert page.open == []
    assert 'Fish & <chips>' in page.text
    assert 'run <this>' in page.text
    images = [attributes['src'] for tag, attributes in page.seen if tag == 'img']
    assert images == ['data:image/png;base64,' + base64.b64encode(b'PNG bytes').decode()]
    addresses = [
        value
        for _, attributes in page.seen
        for name, value in attributes.items()
        if name in ('src', 'href')
    ]
    assert all(a and a.startswith(('#', 'data:')) for a in addresses)


def test_html_contents_lead_to_the_sections(document):
    page = Outline()
    page.feed(to_html(document))
    targets = [a['href'] for tag, a in page.seen if tag == 'a']
    assert targets == [f'#{a["id"]}' for tag, a in page.seen if tag == 'section']
    assert len(targets) == 2
