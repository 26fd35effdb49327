"""The walls of the house: which packages may import which, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Ground floor first: a room imports only from rooms before it. `docs/architecture.md` says why.
ROOMS = (
    'errors',
    'checks',
    'console',
    'storage',
    'jobs',
    'geometry',
    'taxonomy',
    'metrics',
    'corpus',
    'triplets',
    'curriculum',
    'encoder',
    'protocols',
    'dataset',
    'losses',
    'training',
    'refinement',
    'fusion',
    'evaluation',
    'release',
    'benchmark',
    'upkeep',
    'cli',
)


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f'{path}: write imports in full'
            yield node.module
            # `from naics_model import training` names a room in the second half.
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob('*.py'))
    assert found
    return found


def test_naics_model_never_imports_dagster_or_mlflow() -> None:
    offenders = [
        f'{path.relative_to(ROOT)}: {module}'
        for path in sources('naics_model')
        for module in imports_of(path)
        if module.split('.')[0] in ('dagster', 'mlflow', 'naics_assets')
    ]
    assert offenders == []


def test_naics_assets_never_imports_torch() -> None:
    forbidden = ('torch', 'pytorch_lightning', 'transformers', 'peft')
    offenders = [
        f'{path.relative_to(ROOT)}: {module}'
        for path in sources('naics_assets')
        for module in imports_of(path)
        if module.split('.')[0] in forbidden
    ]
    assert offenders == []


def test_rooms_import_only_from_rooms_below() -> None:
    offenders = []
    for path in sources('naics_model'):
        place = path.relative_to(ROOT / 'naics_model')
        if place.name == '__init__.py' and len(place.parts) == 1:
            continue
        room = place.parts[0].removesuffix('.py')
        assert room in ROOMS, f'{path}: a new room needs its place in ROOMS'
        for module in imports_of(path):
            parts = module.split('.')
            named = parts[1] if parts[0] == 'naics_model' and len(parts) > 1 else None
            if named in ROOMS and ROOMS.index(named) > ROOMS.index(room):
                offenders.append(f'{place} imports {module}')
    assert offenders == []


@pytest.mark.parametrize(
    ('module', 'forbidden'),
    [
        ('naics_assets.definitions', ('torch', 'transformers', 'mlflow', 'duckdb')),
        ('naics_model.encoder.tokens', ('torch', 'transformers', 'dagster')),
        ('naics_model.curriculum.sampler', ('torch', 'dagster')),
        ('naics_model.protocols.view', ('torch', 'transformers', 'dagster')),
    ],
)
def test_a_light_module_stays_light(module: str, forbidden: tuple[str, ...]) -> None:
    # A process of its own: in this one, other tests have imported everything already.
    load = 'naics_assets.definitions.defs()' if module == 'naics_assets.definitions' else 'None'
    program = f'import sys, {module}; {load}; print([m for m in {forbidden!r} if m in sys.modules])'
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == '[]'


def test_modules_say_what_belongs_in_them() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in ('naics_model', 'naics_assets')
        for path in sources(package)
        if not ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    ]
    assert silent == []


# What can run code that is in a file. One function may, and asks torch for plain values only.
UNPICKLING = {'pickle', 'cloudpickle', 'dill', 'joblib', 'marshal', 'shelve'}


def test_files_are_unpickled_in_one_place_and_as_plain_values_only() -> None:
    loads = []
    for path in sources('naics_model') + sources('naics_assets'):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        names = {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
        }
        assert not names & UNPICKLING, path
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            what = ast.unparse(call.func)
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            assert not options.keys() & {'allow_pickle', 'trust_remote_code'}, (path, call.lineno)
            if what == 'torch.load':
                assert options['weights_only'] == 'True', (path, call.lineno)
                loads.append(path.relative_to(ROOT).as_posix())
            assert not (what == 'yaml.load' and 'Loader' not in ast.unparse(call)), path
    assert loads == ['naics_model/jobs/checkpoints.py']
