"""Pairs as points: texts that mean alike lie near each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair
from taosr_she.select.config import DiversityConfig

MAX_FEATURES = 50_000
"""Number of most frequent n-grams kept: more take time and hardly move a point in a few dozen dimensions."""


@dataclass(frozen=True)
class Points:
    """P pairs as points, rows of length 1."""

    near: np.ndarray  # (P, d) float32: what is alike lies near
    whole: Any  # (P, D) float32, dense or sparse, before any reduction: tells near duplicates from what is merely alike


def embed(pairs: Sequence[Pair], config: DiversityConfig, seed: int) -> Points:
    """Raises UserError when the model of `config.embedding` cannot be had."""
    texts = [pair_text(pair) for pair in pairs]
    if config.embedding == "tfidf":
        return _tfidf(texts, config.dimensions, seed)
    points = _unit(_model(texts, config.embedding))
    return Points(points, points)


def _unit(points: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    # A text without any kept n-gram has length 0: all of these are one point.
    points = np.where(lengths > 1e-12, points / np.maximum(lengths, 1e-12), np.eye(1, points.shape[1]))
    return points.astype(np.float32)


def pair_text(pair: Pair) -> str:
    """Query and product in one text; the query twice, because it is short and every product text is long."""
    product = pair.product
    stated = (product.brand, product.category, *product.attributes.values())
    return " ".join([pair.query, pair.query, product.title, *(str(value) for value in stated if value)])


def _tfidf(texts: Sequence[str], dimensions: int, seed: int) -> Points:
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    least = 2 if len(texts) > 100 else 1  # an n-gram of one text alone brings it near nothing
    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=least, max_features=MAX_FEATURES, sublinear_tf=True, dtype=np.float32
    )
    letters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), min_df=least, max_features=MAX_FEATURES, sublinear_tf=True,
        dtype=np.float32,
    )  # fmt: skip
    counted = [table for vectorizer in (words, letters) if (table := _counted(vectorizer, texts)) is not None]
    if not counted:
        return Points(_unit(np.zeros((len(texts), 1))), np.zeros((len(texts), 1), dtype=np.float32))
    table = hstack(counted).tocsr()
    whole = normalize(table)
    if table.shape[1] <= dimensions or table.shape[0] <= dimensions:
        return Points(_unit(table.toarray()), whole)
    return Points(_unit(TruncatedSVD(dimensions, n_iter=3, random_state=seed).fit_transform(table)), whole)


def _counted(vectorizer: Any, texts: Sequence[str]) -> Any:
    """Sparse (P, n-grams); None when no n-gram is left, as with texts that share no word."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        if "empty vocabulary" in str(error) or "no terms remain" in str(error):
            return None
        raise


def _model(texts: Sequence[str], name: str) -> np.ndarray:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"embedding {name}: sentence-transformers is not installed: pip install sentence-transformers, or use tfidf"
        ) from error
    try:
        model = SentenceTransformer(name, trust_remote_code=False)  # code that a model brings along is never run
    except MemoryError:
        raise
    except Exception as error:  # whatever its libraries raise over a foreign folder, as in `model.loading`
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"embedding {name}: cannot be loaded ({why})") from error
    return np.asarray(model.encode(list(texts), show_progress_bar=False), dtype=np.float32)
