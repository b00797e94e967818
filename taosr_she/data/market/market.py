"""The whole market from one seed: labelled pairs, the truth of every step, demonstrations, annotations."""

from dataclasses import dataclass
from random import Random

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.data.market.annotators import Person, annotate_by, references_of
from taosr_she.data.market.asks import Popularity, draw_ask, draw_goods, popularity
from taosr_she.data.market.reasoning import Ask, reason
from taosr_she.data.market.teacher import Case, demonstrate
from taosr_she.data.market.text import Wording, write_product, write_query
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair


class MarketConfig(Strict):
    """Sizes and difficulty of the market. Splits never share a query text."""

    demonstration_pairs: int = Field(default=3000, ge=0)
    """Pairs with a demonstration by the teacher (SFT)."""
    training_pairs: int = Field(default=2400, ge=0)
    """Pairs with label and annotations, for reinforcement learning."""
    development_pairs: int = Field(default=400, ge=0)
    """Pairs for choosing settings."""
    test_pairs: int = Field(default=800, ge=0)
    """Pairs for the tables."""
    departments: int = Field(default=4, ge=2, le=8)
    """Number of departments, with four kinds of product each. More departments make the category step harder."""
    products_per_query: int = Field(default=2, ge=1)
    """Products shown for each query."""
    zipf: float = Field(default=0.8, ge=0)
    """Zipf exponent of the popularity of kinds of product; 0 makes all equally popular."""
    hard: float = Field(default=1.0, ge=0)
    """Weight of the hard kinds of query (negation, alternatives, knowledge, need, budget); 1 is that of `asks.py`."""
    satisfy: float = Field(default=0.5, ge=0, le=1)
    """Probability that a product meets a constraint of the query."""
    synonym_share: float = Field(default=0.25, ge=0, le=1)
    """Share of words written as a synonym."""
    question_share: float = Field(default=0.1, ge=0, le=1)
    """Share of queries worded as a question."""
    misspelled_share: float = Field(default=0.02, ge=0, le=1)
    """Share of queries with a typing error."""
    unseen_share: float = Field(default=0.1, ge=0, le=1)
    """Share of test queries with synonyms and needs that never occur in training (slice `unseen_words`)."""
    blind_share: float = Field(default=0.5, ge=0, le=1)
    """Probability that a blind spot of the teacher takes effect on a pair where it can occur."""
    label_follows: float = Field(default=0.9, ge=0, le=1)
    """Probability that the teacher's label follows from its own steps; otherwise it is the true label."""
    annotation_coverage: float = Field(default=1.0, ge=0, le=1)
    """Share of training pairs with annotated steps."""
    annotation_error: float = Field(default=0.02, ge=0, le=1)
    """Probability that an annotated conclusion is wrong."""
    annotators: tuple[Person, ...] = ()
    """Several people, each with their own coverage, errors and blind spots, instead of the annotator above."""
    held_out_annotators: tuple[Person, ...] = (Person(name="held_out"),)
    """People who annotate the development pairs. Their annotations are not trained on; they measure GSRMs."""


SPLITS = ("demonstration", "training", "development", "test")


@dataclass(frozen=True)
class Market:
    """A generated market. `cases` holds what the market knows about each pair, by pair_id."""

    pairs: dict[str, list[Pair]]  # split -> pairs
    cases: dict[str, Case]
    demonstrations: list  # of the demonstration split
    annotations: list[Annotation]  # of the training split
    held_out: list[Annotation]  # of the development split, by other people

    def truth(self, split: str) -> list[Annotation]:
        """Exact reference annotations of every step of a split, for step metrics."""
        return [
            Annotation(pair.pair_id, step, conclusion, annotator="truth")
            for pair in self.pairs[split]
            for step, conclusion in self.cases[pair.pair_id].truth.steps.items()
        ]


def generate_market(config: MarketConfig, seed: int) -> Market:
    """Generate the market. The same seed gives the same market on every platform."""
    domain = load_domain("taobao")
    popular = popularity(seed, config.zipf, config.departments)
    rng = Random(f"market {seed}")
    pairs: dict[str, list[Pair]] = {}
    cases: dict[str, Case] = {}
    texts: set[str] = set()
    for split in SPLITS:
        pairs[split] = []
        size = getattr(config, f"{split}_pairs")
        while len(pairs[split]) < size:
            ask, wording, query = _new_query(rng, popular, config, split, texts)
            for n in range(min(config.products_per_query, size - len(pairs[split]))):
                goods = draw_goods(rng, ask, config.satisfy, popular)
                product, rival = write_product(rng, goods, config.synonym_share)
                case = Case(ask, goods, rival, reason(ask, goods))
                query_id = f"{split[:3]}{len(texts):06d}"
                pair_id = f"{query_id}-{n}"
                tags = _tags(ask, case, wording, popular)
                pairs[split].append(Pair(pair_id, query_id, query, product, case.truth.label, tags=tags))
                cases[pair_id] = case
    teacher = Random(f"teacher {seed}")
    demonstrations = [
        demonstrate(domain, p.pair_id, cases[p.pair_id], teacher, config.blind_share, config.label_follows)
        for p in pairs["demonstration"]
    ]
    training, development = ({p.pair_id: cases[p.pair_id] for p in pairs[s]} for s in ("training", "development"))
    held_out = annotate_by(config.held_out_annotators, development, seed)
    return Market(pairs, cases, demonstrations, _annotations(config, training, seed), held_out)


def _annotations(config: MarketConfig, cases: dict[str, Case], seed: int) -> list[Annotation]:
    if config.annotators:
        return annotate_by(config.annotators, cases, seed)
    one = Person(name="market", coverage=config.annotation_coverage, error_rate=config.annotation_error)
    rng, ids = Random(f"annotator {seed}"), list(cases)
    return [a for pair_id in ids for a in references_of(one, pair_id, cases, ids, rng)]


def _new_query(
    rng: Random, popular: Popularity, config: MarketConfig, split: str, texts: set[str]
) -> tuple[Ask, Wording, str]:
    """A query whose text is not in any split yet; the text is added to `texts`."""
    for _ in range(10_000):
        ask = draw_ask(rng, popular, config.hard)
        wording = Wording(
            synonym_share=config.synonym_share,
            unseen=split == "test" and rng.random() < config.unseen_share,
            question=rng.random() < config.question_share,
            misspelled=rng.random() < config.misspelled_share,
        )
        query = write_query(rng, ask, wording)
        if query not in texts:
            texts.add(query)
            return ask, wording, query
    raise UserError("the market ran out of new queries: ask for fewer pairs, or more products_per_query")


def _tags(ask: Ask, case: Case, wording: Wording, popular: Popularity) -> tuple[str, ...]:
    """Slices for evaluation: wording of the query, popularity of its kind, relation of the product to it."""
    tags = [c.origin for c in ask.constraints if c.origin != "stated"]
    tags += ["brand"] if any(c.key == "brand" for c in ask.constraints) else []
    tags += ["several_attributes"] if len(ask.constraints) >= 2 else []
    tags += ["question"] if wording.question else []
    tags += ["misspelled"] if wording.misspelled else []
    tags += ["unseen_words"] if wording.unseen else []
    tags += ["sub_brand"] if " " in (case.goods.get("brand") or "") else []
    tags += ["rival_brand"] if case.rival else []
    return (*dict.fromkeys(tags), popular.place(ask.kind), f"relation_{case.truth.steps['category']}")
