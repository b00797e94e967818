"""SFT continued on labelled pairs without reasoning: the policy reads its own reasoning and learns the human label."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.model.example import IGNORE, Example
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.parts import FOLDER, PART, in_parts
from taosr_she.recipe.stage import SAMPLE_ROWS, Stage
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taosr_she.domain.pair import Pair


class LabelSFTStage(Stage):
    """SFT continued on labelled pairs that have no reasoning, a baseline. The start policy's own greedy reasoning is
    context; only the human label and the end token after it are trained on. In a domain with the label first there is
    no reasoning before it, and only the label is trained on."""

    kind: Literal["label_sft"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = (
        "a language model that judges in steps, fine-tuned further on labels without reasoning (a baseline)"
    )
    start: str = "sft"
    """Name of the stage whose checkpoint writes the reasoning and is the start of training."""
    data: str = "data"
    """Name of the data stage."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit of the reasoning."""
    settings: SFTSettings = SFTSettings(epochs=1, learning_rate=1e-4)
    """Settings of the training."""

    def reads(self) -> list[tuple[str, str]]:
        return [("data", self.data), ("checkpoint", self.start)]

    def run(self, context: Context) -> dict[str, Any]:
        """Write the reasoning, add the label, and train only on the label and the end token."""
        from taosr_she.engine.precision import computing
        from taosr_she.model.label_probs import code_tokens, label_position
        from taosr_she.model.responses import parse_rollouts
        from taosr_she.model.sampler import sample_groups

        domain, seed = context.domain, context.recipe.seed
        policy = context.policy(self.start)
        pairs = [p for p in context.data(self.data).pairs("training") if p.label is not None]
        sampling = Sampling(max_new_tokens=self.max_new_tokens, temperature=0.0)
        codes = dict(zip(domain.codes, code_tokens(policy, domain), strict=True))
        # Behind a label that comes first, the response goes on.
        ending = [policy.tokenizer.eos_token_id] if domain.label_step == len(domain.steps) - 1 else []

        def write(part: "Sequence[Pair]", number: int) -> dict[str, Any]:
            """The reasoning of each pair up to the place of the label; None where it comes to none."""
            prompts = [policy.encode_prompt(domain, pair) for pair in part]
            with computing(policy.model, self.settings.precision):
                rollouts = sample_groups(policy, prompts, 1, sampling, seed, SAMPLE_ROWS)
            responses = parse_rollouts(policy, domain, rollouts)
            own = [ids[mask].tolist() for ids, mask in zip(rollouts.ids.cpu(), rollouts.mask.cpu(), strict=True)]
            return {
                "reasoning": [
                    None if said.steps[domain.label_step] is None else ids[: label_position(domain, policy, ids, said)]
                    for ids, said in zip(own, responses, strict=True)
                ],
                "reasons": [said.reason for said in responses], "tokens": int(rollouts.mask.sum()),
            }  # fmt: skip

        examples: list[Example] = []
        reasons: list[str | None] = []
        tokens = 0
        update = context.progress.stage(f"{context.name}: reasoning", len(pairs))
        for part, written in in_parts(context.folder / FOLDER / "reasoning", pairs, PART, write):
            for pair, reasoning in zip(part, written["reasoning"], strict=True):
                if reasoning is None:
                    continue  # there is no place for a label
                context_ids = policy.encode_prompt(domain, pair) + reasoning
                answer = [*codes[str(pair.label)], *ending]
                examples.append(Example([*context_ids, *answer], [IGNORE] * len(context_ids) + answer))
            reasons += written["reasons"]
            tokens += written["tokens"]
            update(len(reasons), f"{tokens} tokens")
        context.tell_malformed(reasons, self.start)
        if not examples:
            raise UserError(f"stage '{context.name}': '{self.start}' wrote no reasoning that comes to a label")
        update = context.progress.stage(context.name, self.settings.total_steps(len(examples)))
        train_sft(
            policy, examples, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
        )  # fmt: skip
        return {
            "examples": len(examples),
            "without_label": len(pairs) - len(examples),
            "tokens": tokens,
        }
