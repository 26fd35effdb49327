"""The curriculum guide says what is so: its figures on real editions, its examples, its answers."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from naics_model.corpus.descriptions import build_descriptions, taxonomy_of
from naics_model.corpus.editions import edition
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage, parse_stage
from naics_model.curriculum.supply import _COMPARISONS, StageSupply, advice, stage_supply, verdict
from naics_model.errors import ConfigurationError
from naics_model.storage.files import write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import distance_table
from naics_model.triplets.relation_index import RelationIndex, build_relation_index

GUIDE = (Path(__file__).parents[3] / 'docs' / 'curriculum_design_guide.md').read_text('utf-8')
STAGES = ('01_stage_easy', '02_stage_medium', '03_stage_hard')
# Each program, with what it prints where that is shown.
PROGRAMS = re.findall(r'```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?', GUIDE, re.DOTALL)
# One line of my_stage.yaml changed.
MISTAKES = (
    'bucket_percentages: {1: 0.5, 2: 0.25, 5: 0.2}',
    'bucket_percentages: {1: 50, 2: 25, 5: 25}',
    'difficulty_buckets: [1, 2]',
    'difficulty_buckets: [1, 2, 5, 8]',
    'positive_levels: 6',
    'positive_levels: []',
    'positive_levels: [5, 5]',
    'positive_levels: [1, 6]',
    'positive_distance_min: 4.0',
    'positive_distance_max: .nan',
    'positive_distance_max: 0.4',
    'positive_distance_max: "3.0"',
    'name: ../my stage',
)


@pytest.fixture(scope='module')
def data(source_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the relation indexes of 2022 and 2017."""
    root = tmp_path_factory.mktemp('guide') / 'data'
    for name in ('2022', '2017'):
        wanted, folder = edition(name), EditionFolder(root, name)
        books = [
            source_dir / name / wanted.workbook(kind).file
            for kind in ('codes', 'descriptions', 'cross_references')
        ]
        descriptions = build_descriptions(wanted, *books)
        write_parquet(descriptions, folder.descriptions)
        write_parquet(distance_table(taxonomy_of(descriptions)), folder.distances)
        build_relation_index(folder.descriptions, folder.distances, folder.relation_index)
    return root


@pytest.mark.parametrize('name', ['2022', '2017'])
def test_what_the_built_in_stages_get(data: Path, name: str) -> None:
    index = RelationIndex.load(EditionFolder(data, name).relation_index)
    section = GUIDE.split(f'\n### {name}\n')[1].split('\n#')[0]
    shares = {
        int(cells[0][0]): [float(cell) for cell in cells[1:]]
        for cells in table_rows(section)
        if cells[0][0].isdigit()
    }
    others = {cells[0]: cells[1:] for cells in table_rows(section)}
    assert list(shares) == list(range(1, 9))
    for place, stage in enumerate(STAGES):
        supply = stage_supply(index, load_stage(stage), items=100_000, seed=0)
        for bucket in supply.buckets:
            said = shares[bucket.hardness][3 * place : 3 * place + 3]
            found = [bucket.requested, bucket.expected, bucket.drawn]
            assert said == pytest.approx([100 * share for share in found], abs=0.051)
            assert abs(bucket.drawn - bucket.requested) < 0.05
        worst = max(supply.buckets, key=lambda bucket: abs(bucket.gap))
        assert others[f'`{stage}`'] == [
            f'{100 * abs(worst.gap):.1f} points, hardness {worst.hardness}',
            f'{supply.pairs:,}',
            f'{supply.anchors:,}',
            f'{supply.too_few:,}',
            f'{supply.effective_pairs:,.0f}',
        ]


def test_the_programs_print_what_the_guide_shows(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    names: dict[str, object] = {}
    shown = 0
    for program, printed in PROGRAMS:
        with redirect_stdout(io.StringIO()) as said:
            exec(program, names)
        assert [line.rstrip() for line in said.getvalue().splitlines()] == printed.splitlines()
        shown += bool(printed)
    assert shown == 8


def test_a_mix_that_does_not_come_and_what_helps(data: Path) -> None:
    index = RelationIndex.load(EditionFolder(data, '2022').relation_index)

    def supply_of(shares: dict[int, float], **changes: object) -> StageSupply:
        changed = {'difficulty_buckets': list(shares), 'bucket_percentages': shares, **changes}
        stage = parse_stage(load_stage('03_stage_hard').model_dump() | changed, 'in the test')
        return stage_supply(index, stage, items=1, seed=0)

    supply = supply_of({1: 0.5, 7: 0.5})
    assert f'```\n{verdict(supply)}\n{advice(supply)}\n```' in GUIDE
    assert supply_of({1: 0.68, 7: 0.32}).buckets[6].expected == pytest.approx(0.207, abs=0.0005)
    assert 'the stage gets 21 %' in GUIDE
    near = supply_of({1: 0.5, 7: 0.5}, positive_distance_min=1.5, positive_distance_max=3.0)
    worst = max(abs(bucket.gap) for bucket in near.buckets)
    for figure in (f'{100 * worst:.1f} points', f'{near.pairs:,}', f'{near.effective_pairs:,.0f}'):
        assert figure in GUIDE.split('What helps is')[1]

    thirds = {1: 0.33, 6: 0.33, 8: 0.34}
    assert not supply_of(thirds).missed
    short = supply_of(thirds, positive_levels=[6], positive_distance_max=2.0).buckets[5]
    assert (short.expected, short.pairs_with_none) == (pytest.approx(0.238, abs=0.0005), 2602)
    assert '23.8\ninstead of 33 %' in GUIDE


def test_the_greatest_k_of_which_all_items_are_drawn() -> None:
    found = re.search(r'where K is above (\d+)', GUIDE)
    assert found
    k = int(found[1])
    assert _COMPARISONS // (k + 1) ** 2 < 100_000 <= _COMPARISONS // k**2


def test_the_example_is_a_stage() -> None:
    stage = parse_stage(example(), 'of the guide')
    assert stage.name == 'my_stage'


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_gets_the_answer_that_the_guide_shows(mistake: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_stage(example() | yaml.safe_load(mistake), 'my_stage.yaml')
    assert f'| `{mistake}` | {caught.value} |' in GUIDE


def test_a_key_that_is_misspelt() -> None:
    settings = example()
    settings['k_negative'] = settings.pop('k_negatives')
    with pytest.raises(ConfigurationError) as caught:
        parse_stage(settings, 'my_stage.yaml')
    assert f'| `k_negative: 16` | {caught.value} |' in GUIDE


def test_a_stage_that_leaves_nothing(data: Path) -> None:
    index = RelationIndex.load(EditionFolder(data, '2022').relation_index)
    for changes, written in (
        ({'k_negatives': 3000}, '`k_negatives: 3000`'),
        (
            {'positive_distance_min': 9.0, 'positive_distance_max': None},
            '`positive_distance_min: 9.0` and `positive_distance_max: null`',
        ),
    ):
        with pytest.raises(ConfigurationError) as caught:
            TripletSampler(index, parse_stage(example() | changes, 'my_stage.yaml'), seed=0)
        assert f'| {written} | {caught.value} |' in GUIDE


def test_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('NAICS_CURRICULUM_DIR', raising=False)
    folder = Path('curricula')
    folder.mkdir()
    (folder / 'my_stage.yaml').write_text(yaml.safe_dump(example()))
    assert load_stage('my_stage').k_negatives == 16
    assert answer('my_stag') in GUIDE
    assert answer('my_stage.yaml') in GUIDE
    Path('my_stage.yml').write_text(yaml.safe_dump(example()))
    assert answer('my_stage.yml') in GUIDE
    elsewhere = Path('my_stage.yaml')
    elsewhere.write_text(yaml.safe_dump(example()) + 'k_negatives: 8\n')
    assert answer('my_stage.yaml') in GUIDE
    elsewhere.write_text(yaml.safe_dump(example() | {'name': '01_stage_easy'}))
    assert answer('my_stage.yaml') in GUIDE
    (folder / 'mine.yaml').write_text(yaml.safe_dump(example()))
    assert answer('mine') in GUIDE
    (folder / '01_stage_easy.yaml').write_text(yaml.safe_dump(example()))
    assert answer('my_stage') in GUIDE


def answer(name: str) -> str:
    """The last cell of a row of the guide: what asking for a stage gets."""
    with pytest.raises(ConfigurationError) as caught:
        load_stage(name)
    return f' | {caught.value} |\n'


def example() -> dict[str, object]:
    found = re.search(r'```yaml\n(.*?)```', GUIDE, re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def table_rows(text: str) -> list[list[str]]:
    """The cells of each row of the Markdown tables, headings and rules left out."""
    rows = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    return [row for row in rows if row[0] not in ('hardness', 'stage')]
