"""The one place that says where each file of an edition is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# In the folder of a job that trains: its checkpoints, the mark beside them while it is at work and
# after it was cut off, and where those of a fit go that was cut off when another one starts.
CHECKPOINTS = 'checkpoints'
UNFINISHED = 'unfinished.json'
CUT_OFF = 'checkpoints_cut_off'


def default_data_dir() -> Path:
    """Return the data folder: the environment's NAICS_DATA_DIR, or `./data`."""
    return Path(os.environ.get('NAICS_DATA_DIR') or 'data').absolute()


@dataclass(frozen=True)
class EditionFolder:
    """The files of one edition, as `root / edition / layer / file`.

    Attributes:
        root: the data folder (`NAICS_DATA_DIR`).
        edition: an edition's name, such as `2022` or `sample`.
    """

    root: Path
    edition: str

    @property
    def path(self) -> Path:
        return self.root / self.edition

    def file(self, asset: str) -> Path:
        """The file of a data asset, by the asset's name."""
        path: Path = getattr(self, asset)
        return path

    @property
    def source(self) -> Path:
        """The workbooks as they were fetched, each with a `<file>.json` that says where from."""
        return self.path / 'source'

    @property
    def descriptions(self) -> Path:
        return self.path / 'corpus' / 'descriptions.parquet'

    @property
    def activities(self) -> Path:
        return self.path / 'corpus' / 'activities.parquet'

    @property
    def phrases(self) -> Path:
        return self.path / 'corpus' / 'phrases.parquet'

    @property
    def code_splits(self) -> Path:
        return self.path / 'corpus' / 'code_splits.parquet'

    @property
    def concordance(self) -> Path:
        return self.path / 'corpus' / 'concordance.parquet'

    @property
    def distances(self) -> Path:
        return self.path / 'taxonomy' / 'distances.parquet'

    @property
    def relations(self) -> Path:
        return self.path / 'taxonomy' / 'relations.parquet'

    @property
    def triplets(self) -> Path:
        return self.path / 'triplets' / 'triplets.parquet'

    @property
    def relation_index(self) -> Path:
        return self.path / 'triplets' / 'relation_index.safetensors'

    @property
    def token_cache(self) -> Path:
        return self.path / 'tokens' / 'token_cache.safetensors'

    def view(self, protocol: str) -> EditionFolder:
        """What a training run under a protocol is given: files as an edition's, without the rest.

        Args:
            protocol: its name, such as `heldout_codes`.
        """
        return EditionFolder(self.path / 'protocols', protocol)

    @property
    def view_record(self) -> Path:
        """Of a protocol's view: what it was made from, what is hidden, and that it was checked."""
        return self.path / 'view.json'

    def stage(self, name: str) -> Path:
        """The folder of one training stage's run: checkpoints, exported model, result.json."""
        return self.path / 'training' / name

    @property
    def text_embeddings(self) -> Path:
        return self.path / 'training' / 'text_embeddings.parquet'

    @property
    def queries(self) -> Path:
        """What the last stage's encoder makes of texts that are asked, see `encoder.queries`."""
        return self.path / 'training' / 'queries.safetensors'

    @property
    def refinement(self) -> Path:
        """The folder of the refinement run."""
        return self.path / 'refinement'

    @property
    def refined_embeddings(self) -> Path:
        return self.path / 'refinement' / 'refined_embeddings.parquet'

    @property
    def release(self) -> Path:
        """The folder of the released model: embeddings, encoder, and what was judged of them."""
        return self.path / 'release'

    @property
    def evaluation(self) -> Path:
        """The folder of the evaluation report and its figures."""
        return self.path / 'evaluation'

    def evaluated(self, what: str) -> Path:
        """What was measured of the baselines, of text or refined embeddings: its result.json."""
        return self.evaluation / what / 'result.json'

    def answers(self, what: str) -> Path:
        """What text or refined embeddings answered to each held-out activity."""
        return self.evaluation / what / 'answers.parquet'

    def benchmark(self, protocol: str) -> Path:
        """The result.json of a protocol's benchmark."""
        return self.view(protocol).path / 'result.json'

    @property
    def ablation(self) -> Path:
        """The result.json of the ablation of the dynamic curriculum."""
        return self.path / 'ablation' / 'result.json'

    @property
    def refinement_comparison(self) -> Path:
        """The result.json of the comparison of refinements."""
        return self.path / 'refinements' / 'result.json'
