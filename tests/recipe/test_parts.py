"""What a model says to many pairs, kept in parts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from toy_models import device, domain, make_policy, small, texts, tiny  # noqa: F401

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model import responses
from taosr_she.model.policy import Policy
from taosr_she.model.sampling import Sampling
from taosr_she.recipe import parts
from taosr_she.recipe.parts import in_parts, kept_responses
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.resume import saved_point

PROMPT = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
DOMAIN = load_domain("taobao").with_overrides({"prompt": PROMPT})
PAIRS = [Pair(f"p{n}", "red boots", "red boots", Product(f"boots {n}"), label="1") for n in range(5)]


def test_a_part_is_asked_once_and_a_damaged_or_foreign_one_again(tmp_path: Path) -> None:
    asked = []

    def ask(part: Any, number: int) -> dict[str, Any]:
        asked.append(number)
        return {"said": [pair.pair_id * 2 for pair in part]}

    def said() -> list[str]:
        return [word for _, found in in_parts(tmp_path, PAIRS, 2, ask) for word in found["said"]]

    expected = [pair.pair_id * 2 for pair in PAIRS]
    assert said() == said() == expected and asked == [0, 1, 2]
    (tmp_path / "part-00001.json").write_text('{"pairs": ["p2"')
    assert said() == expected and asked == [0, 1, 2, 1]
    (tmp_path / "part-00002.json").write_text('{"pairs": ["p9"], "said": ["x"]}')
    assert said() == expected and asked == [0, 1, 2, 1, 2]


def test_responses_of_a_killed_stage_are_those_of_a_whole_one(
    tiny: Policy,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "PART", 2)
    sampling = Sampling(max_new_tokens=12, temperature=1.0)

    def sampled(folder: str) -> responses.Sampled:
        context: Any = SimpleNamespace(
            name="dpo", folder=tmp_path / folder, domain=DOMAIN, progress=Progress(Console(quiet=True))
        )
        return kept_responses(context, tiny, PAIRS, 3, sampling, 7)

    whole = sampled("whole")
    assert [pair.pair_id for pair in whole.pairs] == [pair.pair_id for pair in PAIRS for _ in range(3)]
    assert whole == responses.sample_responses(tiny, DOMAIN, PAIRS, 3, sampling, 7, 64), "as in one piece"
    assert sum(whole.tokens) > 0 and len({response.text for response in whole.responses}) > 3

    real, calls = responses.sample_responses, []

    def killed(*args: Any) -> responses.Sampled:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(responses, "sample_responses", killed)
    with pytest.raises(KeyboardInterrupt):
        sampled("killed")
    assert saved_point(tmp_path / "killed") == "after part 1"
    again = sampled("killed")
    assert len(calls) == 4, "the first part is read"
    assert again == whole, "texts, steps, reasons and tokens"
