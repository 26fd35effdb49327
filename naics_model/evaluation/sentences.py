"""A frozen sentence encoder as it comes: the baseline that reads, but never saw NAICS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from naics_model.encoder.backbones import first_position, load_backbone, resolve_backbone
from naics_model.encoder.tokens import tokenize


class SentenceEncoder:
    """A frozen sentence encoder that reads each text once."""

    def __init__(self, backbone: str, log: Callable[[str], None] | None = None) -> None:
        """Args:
        backbone: a name that `encoder.backbones` knows.
        log: told the progress.
        """
        self._backbone = backbone
        self._log = log
        self._known: dict[str, NDArray[np.float32]] = {}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (n, d)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = sentence_vectors(new, backbone=self._backbone, progress=self._log)
            self._known.update(zip(new, found, strict=True))
        return np.stack([self._known[text] for text in texts])

    def distances(self, documents: Sequence[str], queries: Sequence[str]) -> NDArray[np.float32]:
        """Return 1 - cosine (q, c) of queries and documents; smaller is nearer."""
        return 1.0 - self.vectors(queries) @ self.vectors(documents).T


def sentence_vectors(
    texts: Sequence[str],
    *,
    backbone: str,
    max_length: int = 256,
    batch_size: int = 64,
    progress: Callable[[str], None] | None = None,
) -> NDArray[np.float32]:
    """Return unit vectors (n, d): a frozen encoder's last layer, mean over a text's tokens.

    Texts are cut at `max_length` tokens; 256 is what the packaged encoder's publishers set.
    """
    import torch

    from naics_model.encoder.packing import mean_vectors

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    found = resolve_backbone(backbone)
    model = load_backbone(found).to(device).eval()
    first = first_position(found.family)
    # Texts of like length share a batch, so that little is padded.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for number, start in enumerate(range(0, len(order), batch_size)):
            rows = order[start : start + batch_size]
            tokens = tokenize([texts[i] for i in rows], backbone, max_length)
            ids = torch.as_tensor(tokens.input_ids, device=device)
            mask = torch.as_tensor(tokens.attention_mask, device=device)
            means = mean_vectors(model, ids, mask, first)
            unit = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
            if vectors is None:
                vectors = np.zeros((len(texts), unit.shape[1]), np.float32)
            vectors[rows] = unit
            if progress is not None and number % 16 == 15:
                progress(f'zero-shot encoder: {start + len(rows):,} of {len(texts):,} texts')
    assert vectors is not None, 'no texts'
    return vectors
