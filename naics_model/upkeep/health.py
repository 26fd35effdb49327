"""Whether this machine and what is installed are fit for the work: findings for `naics doctor`.

Each check looks at one thing and says what it found; where something is amiss, what to do. Dagster
and MLflow are looked at in `naics_assets.upkeep`.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from naics_model.corpus.editions import (
    OWN_EDITIONS,
    PACKAGED_EDITIONS,
    editions_file,
    load_editions,
    names_in,
)
from naics_model.encoder.backbones import MINILM, resolve_backbone
from naics_model.errors import NaicsError
from naics_model.storage.layout import EditionFolder
from naics_model.upkeep.inventory import MISSING, NEW_CONTENT, holding

PACKAGE = 'naics-lorentz'
GIGABYTE = 1e9
# A run of the whole graph writes well below one; a full disk costs a night's training.
_DISK = (5 * GIGABYTE, 1 * GIGABYTE)
# The two processes of the profile cpu take 4.1 GB each, all triplets of 2022 take 0.7.
_MEMORY = (8.5 * GIGABYTE, 1 * GIGABYTE)


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        what: the thing that was looked at.
        state: `problem` where something will fail.
        said: what was found.
        remedy: what to do; nothing where it is ok.
    """

    what: str
    state: Literal['ok', 'warning', 'problem']
    said: str
    remedy: str = ''


def check_python() -> Finding:
    """Hold this Python against the versions that the project runs on."""
    asked = metadata.metadata(PACKAGE)['Requires-Python']
    version = platform.python_version()
    if version in SpecifierSet(asked):
        return Finding('Python', 'ok', version)
    return Finding('Python', 'problem', f'{version}, but it has to be {asked}', 'use another one')


def check_packages(constraints: Path) -> Iterator[Finding]:
    """Hold installed packages against the project's ranges, and against the tested versions.

    Args:
        constraints: the file of tested versions, `name==version` in a line.
    """
    wanted = [Requirement(line) for line in metadata.requires(PACKAGE) or ()]
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate()]
    tested = _tested(constraints)
    install = f'pip install -c {constraints.name} -e .'
    amiss = False
    for requirement in wanted:
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, 'problem', 'not installed', install)
            amiss = True
            continue
        # A local label, such as +cpu, is the same version built otherwise.
        plain, pinned = found.partition('+')[0], tested.get(_canonical(requirement.name))
        if not requirement.specifier.contains(plain, prereleases=True):
            said = f'{found}, but it has to be {requirement.specifier}'
            yield Finding(requirement.name, 'problem', said, install)
            amiss = True
        elif pinned and plain != pinned:
            yield Finding(requirement.name, 'warning', f'{found}; tested is {pinned}', install)
            amiss = True
    if not amiss:
        versions = ', '.join(
            f'{name} {metadata.version(name)}' for name in ('torch', 'dagster', 'mlflow')
        )
        fit = 'as tested' if tested else f'in their ranges (there is no {constraints} to compare)'
        yield Finding('packages', 'ok', f'{len(wanted)} {fit}: {versions}')


def _tested(constraints: Path) -> dict[str, str]:
    if not constraints.is_file():
        return {}
    lines = (line.partition('#')[0].strip() for line in constraints.read_text().splitlines())
    pins = (line.partition('==') for line in lines if '==' in line)
    return {_canonical(name): version for name, _, version in pins}


def _canonical(name: str) -> str:
    return name.lower().replace('_', '-').replace('.', '-')


def check_disk(data_dir: Path) -> Finding:
    """Look at the free space where data goes."""
    place = next(folder for folder in (data_dir, *data_dir.parents) if folder.is_dir())
    return _enough(
        'disk',
        shutil.disk_usage(place).free,
        _DISK,
        f'free at {place}',
        'naics clean says what is not needed; or choose another disk with NAICS_DATA_DIR',
    )


def check_memory() -> Finding:
    """Look at the memory that is not in use."""
    return _enough(
        'memory',
        psutil.virtual_memory().available,
        _MEMORY,
        'available',
        'end other programs, or train with NAICS_PROCESSES=1, which takes half',
    )


def _enough(
    what: str, amount: float, least: tuple[float, float], words: str, remedy: str
) -> Finding:
    """Return a warning below the first bound, a problem below the second."""
    said = f'{amount / GIGABYTE:,.1f} GB {words}'
    if amount >= least[0]:
        return Finding(what, 'ok', said)
    return Finding(what, 'warning' if amount >= least[1] else 'problem', said, remedy)


def check_encoder() -> Finding:
    """Compare the packaged encoder with its published digest."""
    try:
        found = resolve_backbone(MINILM)
    except NaicsError as error:
        return Finding('encoder', 'problem', *_sentence(error))
    return Finding('encoder', 'ok', f'{found.name}, sha256 {found.digest[:12]}… as published')


def check_gpus() -> Finding:
    """Say which GPUs torch can use. That there is none is no fault."""
    import torch

    if not torch.cuda.is_available():
        return Finding('GPUs', 'ok', 'none: profiles smoke and cpu train on processors')
    cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    named = ', '.join(f'{card.name} ({card.total_memory / GIGABYTE:.0f} GB)' for card in cards)
    return Finding('GPUs', 'ok', named)


def check_editions() -> Finding:
    """Look for what the packaged editions file has, and a person's own has not."""
    file = editions_file()
    known = load_editions()
    lacking = [name for name in names_in(PACKAGED_EDITIONS) if name not in names_in(file)]
    if lacking:
        return Finding(
            'editions',
            'warning',
            f'{file} ({OWN_EDITIONS}) lacks {", ".join(lacking)} of this release',
            f'copy what is missing from {PACKAGED_EDITIONS}',
        )
    return Finding('editions', 'ok', f'{", ".join(known)}, from {file}')


def check_source_dir(folder: Path | None) -> Finding:
    """Look whether the folder of workbooks has those of the editions.

    Args:
        folder: NAICS_SOURCE_DIR, if it is set.
    """
    what = 'workbooks'
    if folder is None:
        return Finding(what, 'ok', "from the Census Bureau's site (NAICS_SOURCE_DIR is not set)")
    published = {name: known for name, known in load_editions().items() if not known.packaged}
    there = [name for name in published if (folder / name).is_dir()]
    if not there:
        return Finding(
            what,
            'problem',
            f'{folder} (NAICS_SOURCE_DIR) has no folder {" or ".join(published)}',
            'lay it out as <edition>/<file>, or unset NAICS_SOURCE_DIR',
        )
    missing = [
        f'{name}/{book.file}'
        for name in there
        for book in published[name].workbooks.values()
        if book.csv is None and not (folder / name / book.file).is_file()
    ]
    if missing:
        return Finding(what, 'warning', f'{folder} lacks {", ".join(missing)}', 'put them there')
    return Finding(what, 'ok', f'of {", ".join(there)} in {folder}')


def check_data(data_dir: Path) -> Iterator[Finding]:
    """Say of each edition what is there of it."""
    for name in load_editions():
        what = f'data of {name}'
        try:
            found = holding(EditionFolder(data_dir, name))
        except NaicsError as error:
            yield Finding(what, 'problem', *_sentence(error))
            continue
        if found.newest is None:
            yield Finding(what, 'ok', 'nothing yet')
        elif found.lacking or found.workbooks.get(MISSING):
            lacking = [*found.lacking, *(['workbooks'] if found.workbooks.get(MISSING) else [])]
            said = f'lacks {", ".join(lacking)}'
            yield Finding(what, 'warning', said, f'naics data --edition {name}')
        elif found.workbooks.get(NEW_CONTENT):
            yield Finding(
                what,
                'warning',
                'workbooks have other bytes than this release was tested with',
                'docs/edition_runbook.md, an erratum',
            )
        else:
            made = [*found.stages, *(f'{each} embeddings' for each in found.embeddings)]
            yield Finding(what, 'ok', ', '.join([f'{len(found.tables)} tables', *made]))


def _sentence(error: NaicsError) -> tuple[str, str]:
    """Return what an error found and its remedy, which our sentences put behind a colon."""
    found, colon, remedy = str(error).rstrip('.').rpartition(': ')
    return (found, remedy) if colon else (remedy, '')
