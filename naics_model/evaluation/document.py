"""A small document and its two forms, Markdown and one self-contained HTML page.

What a report says is decided in `report`; here is only how a heading, a paragraph, a list, a
table, a figure and a block of code look.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Literal

MISSING = '–'


@dataclass(frozen=True)
class Row:
    """A line of a table: its label, one number or text per column (None: not measured), and
    which number is best. `decimals` is how numbers are shown."""

    label: str
    values: tuple[float | str | None, ...]
    best: Literal['higher', 'lower'] | None = None
    decimals: int = 3

    def cells(self) -> list[tuple[str, bool]]:
        """Return each cell's text and whether it is the best of the row.

        What is shown as the same figure is equally good; if all are, none stands out.
        """
        shown = [
            MISSING if value is None else value if isinstance(value, str) else self._number(value)
            for value in self.values
        ]
        numbers = [
            float(text.replace(',', ''))
            for text, value in zip(shown, self.values, strict=True)
            if isinstance(value, int | float)
        ]
        if self.best is None or len(set(numbers)) < 2:
            return [(text, False) for text in shown]
        winner = max(numbers) if self.best == 'higher' else min(numbers)
        return [
            (text, isinstance(value, int | float) and float(text.replace(',', '')) == winner)
            for text, value in zip(shown, self.values, strict=True)
        ]

    def _number(self, value: float) -> str:
        return f'{value:,.{self.decimals}f}'


@dataclass(frozen=True)
class Table:
    """A table; `columns` names the value columns, `corner` the label column."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Figure:
    """A PNG image. `name` is its file name under `figures/`."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Terms:
    """A list of terms, each with its explanation."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    text: str


Block = Table | Figure | Paragraph | Terms | Bullets | Code


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A title, a line below it, a few words that stand out, and sections."""

    title: str
    subtitle: str
    lead: tuple[str, ...] = ()
    sections: tuple[Section, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        blocks = [block for section in self.sections for block in section.blocks]
        return tuple(block for block in blocks if isinstance(block, Figure))


def to_markdown(document: Document) -> str:
    """Return the document as Markdown; figures are links to `figures/<name>`."""
    parts = [f'# {document.title}', document.subtitle, *document.lead]
    for section in document.sections:
        parts.append(f'## {section.title}')
        parts += [_markdown(block) for block in section.blocks]
    return '\n\n'.join(parts) + '\n'


def to_html(document: Document) -> str:
    """Return the document as one HTML page: style and figures inside, nothing to fetch."""
    template = Template(
        (files('naics_model.evaluation') / 'report.html').read_text(encoding='utf-8')
    )
    return template.substitute(
        title=html.escape(document.title),
        subtitle=html.escape(document.subtitle),
        lead='\n'.join(f'<p>{html.escape(text)}</p>' for text in document.lead),
        contents='\n'.join(
            f'<a href="#{_anchor(section.title)}">{html.escape(section.title)}</a>'
            for section in document.sections
        ),
        body='\n'.join(
            f'<section id="{_anchor(section.title)}">\n<h2>{html.escape(section.title)}</h2>\n'
            + '\n'.join(_html(block) for block in section.blocks)
            + '\n</section>'
            for section in document.sections
        ),
    )


def _anchor(title: str) -> str:
    return '-'.join(''.join(c if c.isalnum() else ' ' for c in title.lower()).split())


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text):
            return text
        case Bullets(items):
            return '\n'.join(f'* {item}' for item in items)
        case Terms(items):
            return '\n'.join(f'* **{term}**: {meaning}' for term, meaning in items)
        case Code(text):
            return f'```\n{text}\n```'
        case Figure(name, _, alt, caption):
            return f'![{alt}](figures/{name})\n\n*{caption}*'
        case Table(corner, columns, rows):
            lines = [_markdown_line(corner, columns), '|---' + '|---:' * len(columns) + '|']
            for row in rows:
                cells = [f'**{text}**' if best else text for text, best in row.cells()]
                lines.append(_markdown_line(row.label, cells))
            return '\n'.join(lines)


def _markdown_line(label: str, cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(text.replace('|', '\\|') for text in (label, *cells)) + ' |'


def _html(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f'<p>{html.escape(text)}</p>'
        case Bullets(items):
            return '<ul>' + ''.join(f'<li>{html.escape(item)}</li>' for item in items) + '</ul>'
        case Terms(items):
            pairs = ''.join(
                f'<dt>{html.escape(term)}</dt><dd>{html.escape(meaning)}</dd>'
                for term, meaning in items
            )
            return f'<dl>{pairs}</dl>'
        case Code(text):
            return f'<pre><code>{html.escape(text)}</code></pre>'
        case Figure(_, png, alt, caption):
            source = base64.b64encode(png).decode('ascii')
            return (
                f'<figure><div class="wide"><img alt="{html.escape(alt)}" '
                f'src="data:image/png;base64,{source}"></div>'
                f'<figcaption>{html.escape(caption)}</figcaption></figure>'
            )
        case Table(corner, columns, rows):
            head = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
            lines = ''.join(
                f'<tr><th scope="row">{html.escape(row.label)}</th>'
                + ''.join(_html_cell(text, best) for text, best in row.cells())
                + '</tr>\n'
                for row in rows
            )
            return (
                f'<div class="wide"><table>\n<thead><tr><th scope="col">{html.escape(corner)}'
                f'</th>{head}</tr></thead>\n<tbody>{lines}</tbody></table></div>'
            )


def _html_cell(text: str, best: bool) -> str:
    shown = html.escape(text)
    return f'<td><strong>{shown}</strong></td>' if best else f'<td>{shown}</td>'
