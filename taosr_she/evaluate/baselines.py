"""Baselines without a generative language model, which a reasoning model must beat.

`majority_baseline` always answers with the most frequent grade. `tfidf_baseline` is logistic regression on TF-IDF
n-grams and on the overlap of query and product. It is properly tuned: balanced classes, and regularisation chosen by a
cross-validation that never divides a query. `minilm_baseline` and `cross_encoder_baseline` start from a small
pretrained encoder (`minilm`).
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from inspect import signature
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError
from taosr_she.base.import_path import check_call, import_named, is_import_path
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.prediction import Prediction

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

Baseline = Callable[..., list[Prediction]]
"""`(domain, train, test, seed) -> one prediction for each test pair, in order`.

A baseline with a parameter `development` gets the development pairs, for tuning. One with a parameter `clock` gets a
`Clock` for the time in which it answers."""
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of the inverse regularisation C among which cross-validation chooses."""
FOLDS = 3
MAX_TERMS = 20_000
"""Number of most frequent terms kept of each kind."""


class Clock:
    """Adds up the seconds in which a baseline answers pairs, without those in which it is fitted."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time this block."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started


def majority_baseline(domain: Domain, train: Sequence[Pair], test: Sequence[Pair], seed: int = 0) -> list[Prediction]:
    """The most frequent grade of the labelled training pairs, for every test pair; the better grade if there is a tie.

    The label distribution is the shares of the grades in training. `seed` is not used; all baselines have the same
    signature.
    """
    counts = Counter(p.label for p in labelled(train))
    probs = [counts[code] / counts.total() for code in domain.codes]
    return [prediction(domain, pair, probs) for pair in test]


def tfidf_baseline(
    domain: Domain, train: Sequence[Pair], test: Sequence[Pair], seed: int = 0, clock: Clock | None = None
) -> list[Prediction]:
    """Logistic regression on TF-IDF of query and product and on their overlap, fitted on the labelled training pairs.

    Runs on one thread: the matrix products are small, and on a busy machine threads that wait for each other take more
    than twenty times as long.

    C is chosen for macro-F1 in a cross-validation over queries, with folds from the seed. A grade that does not occur
    in training gets probability 0; with a single grade, this is the majority baseline. Raises UserError if there are no
    labels.
    """
    known = labelled(train)
    if len({p.label for p in known}) < 2:
        return majority_baseline(domain, train, test)
    if not test:
        return []
    with one_thread():
        blocks = _Blocks().fit(known)
        model = _fit(blocks.transform(known), _labels(known), choose_strength(known, seed))
        with (clock or Clock()).running():
            rows = model.predict_proba(blocks.transform(test)).tolist()
    column = {str(code): i for i, code in enumerate(model.classes_)}
    return [
        prediction(domain, pair, [row[column[code]] if code in column else 0.0 for code in domain.codes])
        for pair, row in zip(test, rows, strict=True)
    ]


def minilm_baseline(
    domain: Domain, train: Sequence[Pair], test: Sequence[Pair], seed: int = 0, development: Sequence[Pair] = ()
) -> list[Prediction]:
    """Logistic regression on MiniLM's embeddings of query and product. UserError if MiniLM is not available."""
    from taosr_she.evaluate.minilm import minilm_answers

    return minilm_answers(domain, train, test, seed, development)


def cross_encoder_baseline(
    domain: Domain,
    train: Sequence[Pair],
    test: Sequence[Pair],
    seed: int = 0,
    development: Sequence[Pair] = (),
    clock: Clock | None = None,
) -> list[Prediction]:
    """MiniLM fine-tuned on query and product together. UserError if MiniLM is not available."""
    from taosr_she.evaluate.minilm import cross_encoder_answers

    return cross_encoder_answers(domain, train, test, seed, development, clock or Clock())


BASELINES: dict[str, Baseline] = {
    "majority": majority_baseline,
    "tfidf": tfidf_baseline,
    "minilm": minilm_baseline,
    "cross_encoder": cross_encoder_baseline,
}
"""Name in a recipe -> baseline. To add one, write a function and add a line here, or use an import path."""


def find_baseline(name: str) -> Baseline:
    """The function for a name in BASELINES or an import path. Raises a one-line ValueError for anything else."""
    if name in BASELINES:
        return BASELINES[name]
    if not is_import_path(name):
        known = ", ".join(BASELINES)
        raise ValueError(f"'{name}' is none of {known}, and no import path such as my_package.baselines:my_baseline")
    named: Baseline = import_named(name)
    check_call(name, named, ("domain", "train", "test", "seed"))
    return named


def answers_of(
    name: str,
    domain: Domain,
    train: Sequence[Pair],
    development: Sequence[Pair],
    test: Sequence[Pair],
    seed: int,
    clock: Clock | None = None,
) -> list[Prediction]:
    """A baseline's predictions for `test`, checked; fitted on `train`, and tuned on `development` if it accepts it.
    `clock` then has the seconds of answering `test`, or 0 if the baseline does not tell."""
    fit = find_baseline(name)
    offered = {"development": development, "clock": clock or Clock()}
    taken = {key: value for key, value in offered.items() if key in signature(fit).parameters}
    return checked_predictions(name, domain, test, fit(domain, train, test, seed, **taken))


def checked_predictions(
    name: str, domain: Domain, test: Sequence[Pair], predictions: Sequence[Prediction]
) -> list[Prediction]:
    """The predictions of a baseline, checked: one for each pair of `test`, in the same order, or UserError."""
    ids = [p.pair_id for p in predictions if isinstance(p, Prediction)]
    if ids != [p.pair_id for p in test]:
        raise UserError(f"baseline {name}: expected one Prediction for each of the {len(test)} pairs, in their order")
    wrong = [p for p in predictions if len(p.probs or ()) != len(domain.codes)]
    if wrong:
        raise UserError(
            f"baseline {name}: pair {wrong[0].pair_id} needs {len(domain.codes)} probabilities, one per grade"
        )
    return list(predictions)


def choose_strength(pairs: Sequence[Pair], seed: int) -> float:
    """The C in STRENGTHS with the best macro-F1 over all held-out folds; the smaller C if there is a tie.

    Folds never divide a query, and terms are learned inside each fold. 1.0 if no fold can be fitted, because there is a
    single query or a single grade outside each fold.
    """
    import numpy as np
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupKFold

    labels = np.array(_labels(pairs))
    queries = [p.query_id for p in pairs]
    folds = min(FOLDS, len(set(queries)))
    if folds < 2:
        return 1.0
    held_out: list[np.ndarray] = []
    answers: dict[float, list[np.ndarray]] = {strength: [] for strength in STRENGTHS}
    for inside, outside in GroupKFold(folds, shuffle=True, random_state=seed).split(labels, groups=queries):
        if len(set(labels[inside])) < 2:
            continue
        blocks = _Blocks().fit([pairs[i] for i in inside])
        x, held = blocks.transform([pairs[i] for i in inside]), blocks.transform([pairs[i] for i in outside])
        held_out.append(labels[outside])
        for strength in STRENGTHS:
            answers[strength].append(_fit(x, labels[inside].tolist(), strength).predict(held))
    if not held_out:
        return 1.0
    truth = np.concatenate(held_out)
    present = sorted(set(truth))
    scores = [
        f1_score(truth, np.concatenate(answers[s]), labels=present, average="macro", zero_division=0) for s in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]


def overlap(pair: Pair) -> list[float]:
    """Features of the overlap: the share of query words found in the product, and lengths; between 0 and about 1."""
    query, title, everything = (set(words(t)) for t in (pair.query, pair.product.title, product_text(pair)))
    description = set(words(pair.product.description))
    price = pair.product.price
    budget = max((float(n) for n in re.findall(r"\d+(?:\.\d+)?", pair.query)), default=0.0)
    return [
        len(query & title) / len(query),
        len(query & description) / len(query),
        len(query & everything) / len(query),
        float(query <= everything),
        len(query & title) / len(query | title),
        len(query & everything) / len(query | everything),
        math.log1p(len(query)) / 5,
        math.log1p(len(everything)) / 5,
        # A number in the query may be a budget.
        float(price is not None and 0 < price <= budget),
        float(price is not None and price > budget > 0),
    ]


def words(text: str) -> list[str]:
    """Words and numbers without case; a placeholder if there are none."""
    return re.findall(r"\w+", text.casefold()) or ["(none)"]


def product_text(pair: Pair) -> str:
    """All information about the product as one text."""
    product = pair.product
    attributes = (f"{key} {value}" for key, value in product.attributes.items())
    return " ".join([product.title, product.brand, product.category, *attributes, product.description])


def _missed(pair: Pair) -> list[str]:
    product_words = set(words(product_text(pair)))
    return [word for word in words(pair.query) if word not in product_words] or ["(nothing missed)"]


def _shared(pair: Pair) -> list[str]:
    product_words = set(words(product_text(pair)))
    return [word for word in words(pair.query) if word in product_words] or ["(nothing shared)"]


def _word_grams(text: str) -> list[str]:
    tokens = words(text)
    return tokens + [f"{a} {b}" for a, b in pairwise(tokens)]


def _char_grams(text: str) -> list[str]:
    """Character n-grams of 2 to 4 inside words, with marked word ends: robust to inflection and misspelling."""
    padded = [f" {word} " for word in words(text)]
    return [word[i : i + n] for n in (2, 3, 4) for word in padded for i in range(len(word) - n + 1)]


_TERMS: tuple[Callable[[Pair], list[str]], ...] = (
    lambda pair: _word_grams(pair.query),
    lambda pair: _word_grams(product_text(pair)),
    lambda pair: _char_grams(pair.query),
    # Without the description: it doubles the time, and on the ESCI sample it changed macro-F1 only within noise.
    lambda pair: _char_grams(f"{pair.product.title} {pair.product.brand}"),
    _missed,
    _shared,
)


class _Blocks:
    """Pairs to features: one TF-IDF block for each kind of term, and the overlap features."""

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizers = [TfidfVectorizer(analyzer=t, sublinear_tf=True, max_features=MAX_TERMS) for t in _TERMS]

    def fit(self, pairs: Sequence[Pair]) -> "_Blocks":
        for vectorizer in self.vectorizers:
            vectorizer.fit(pairs)
        return self

    def transform(self, pairs: Sequence[Pair]) -> "csr_matrix":
        """(N, features) sparse."""
        from scipy.sparse import csr_matrix, hstack

        blocks = [vectorizer.transform(pairs) for vectorizer in self.vectorizers]
        return hstack([*blocks, csr_matrix([overlap(p) for p in pairs])], format="csr")


def one_thread() -> AbstractContextManager[Any]:
    """Limit the linear algebra libraries to one thread."""
    import scipy.optimize  # noqa: F401
    import sklearn.linear_model  # noqa: F401  # the limit applies only to loaded libraries
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1)


def _fit(x: "csr_matrix", labels: Sequence[str], strength: float) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight="balanced", max_iter=1000).fit(x, labels)


def labelled(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with a label. UserError if there are none."""
    labelled = [p for p in pairs if p.label is not None]
    if not labelled:
        raise UserError("baselines learn from labels, and no training pair has one")
    return labelled


def _labels(pairs: Sequence[Pair]) -> list[str]:
    return [str(p.label) for p in pairs]


def prediction(domain: Domain, pair: Pair, probs: Sequence[float]) -> Prediction:
    """The prediction of a model that gives only labels: `probs` in the order of `domain.codes`, summing to 1.

    The most probable grade (the better one if there is a tie), without response, steps or verdicts."""
    best = max(range(len(probs)), key=lambda i: probs[i])
    k = len(domain.step_keys)
    return Prediction(
        pair_id=pair.pair_id, query_id=pair.query_id, label=pair.label, predicted=domain.codes[best],
        probs=tuple(probs), steps=(None,) * k, verdicts=(math.nan,) * k, tags=pair.tags,
    )  # fmt: skip
