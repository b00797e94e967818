"""The market plays the people: reference annotations of every step, with a stated coverage and error rate."""

from random import Random

from taosr_she.data.market.teacher import BLIND_SPOTS, Case, flawed_reasoning
from taosr_she.domain.pair import Annotation


def annotate(cases: dict[str, Case], coverage: float, error_rate: float, seed: int) -> list[Annotation]:
    """Reference annotations (one a step) for a share `coverage` of the pairs.

    The label step is not annotated here: the pair's human label is its reference. With the chance `error_rate` a step's
    conclusion is wrong: what somebody with every blind spot would conclude, or, where that happens to be right, the
    conclusion of another pair.
    """
    rng = Random(f"annotator {seed}")
    ids = list(cases)
    annotations = []
    for pair_id in ids:
        if rng.random() >= coverage:
            continue
        case = cases[pair_id]
        for step, right in case.truth.steps.items():
            if step == "label":
                continue
            conclusion = right
            if rng.random() < error_rate:
                spots = tuple(s for s in BLIND_SPOTS if s != "sub_brand" or " " in (case.goods.get("brand") or ""))
                conclusion = flawed_reasoning(case, spots).steps[step]
                if conclusion == right:
                    conclusion = cases[rng.choice(ids)].truth.steps[step]
            annotations.append(Annotation(pair_id, step, conclusion, annotator="market", guideline_version="1"))
    return annotations
