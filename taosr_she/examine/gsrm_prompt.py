"""The form that the GSRM reads and writes.

It gets the policy's own prompt (pair; grades and rules if the domain shows them). Then it reasons by itself, in the
policy's own form; these conclusions are its critique: what each step should say. Only then does it see the response,
one step after another, and writes `correct` or `wrong` on a line of its own:

    [query] category: boots; color: red           its own reasoning, written once for a pair
    ...
    [label] 3
    Check:                                        from here on once for every response
    [query] category: boots; color: red
    correct
    [product] category: boots; price: 45
    wrong
    ...

This order makes verdicts learnable. A verdict that comes first has no reasoning to rely on. A critique written *after*
the response copies it: copying is the easy half of every training example, and a small model never gets further
(docs/log.md). Reasoning first is what the SFT policy, from which the GSRM starts, can do already; only a comparison
remains to be learnt. (For large models, Zheng et al. 2023, arXiv 2306.05685, section 3.4, found the same:
reference-guided judging.) It is also the cheapest order, because one reasoning serves all responses of a pair.

The verdict has a line of its own because hardly any tokenizer merges a line break with the words around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import neutralise
from taosr_she.domain.response import Response

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy

CORRECT, WRONG, HEADING = "correct", "wrong", "Check:"

Shown = tuple[str | None, ...]
"""K step texts as the GSRM reads them; None for steps that it does not examine."""


def shown_steps(domain: Domain, response: Response, max_chars: int, special_tokens: Sequence[str] = ()) -> Shown:
    """The steps of a response on one line each, unable to act as structure, at most `max_chars` long.

    None for steps that are wrong without a GSRM: a missing or empty section, and a label that is not on the scale.
    """
    texts = [neutralise(s.text[: 4 * max_chars], special_tokens)[:max_chars] if s else "" for s in response.steps]
    if response.label is None:
        texts[domain.label_step] = ""
    return tuple(text or None for text in texts)


@dataclass(frozen=True)
class Check:
    """The part of an answer that examines a response, as token ids."""

    ids: list[int]
    slots: list[int]  # for each examined step: position in `ids` of the token before the verdict
    asked: list[int]  # indices of the examined steps


class GSRMForm:
    """The GSRM's form in the tokens of one tokenizer.

    Every part is tokenised separately, in training and in examination, so it has the same tokens everywhere.
    """

    slot: tuple[int, ...]
    """Line break and the common beginning of both verdict words; the verdict's probability is read after it."""
    correct: tuple[int, ...]
    """What is left of the word; also the placeholder in earlier slots."""
    wrong: tuple[int, ...]
    """What is left of the word; its first token differs from that of `correct`."""

    def __init__(self, policy: "Policy", domain: Domain) -> None:
        """Raises UserError when the tokenizer has no line break or cannot tell the verdict words apart."""
        self._policy, self._domain = policy, domain
        # SentencePiece puts a space before everything it encodes; the break must begin with the break itself.
        line_break = self._encode("\n")
        while line_break and "\n" not in policy.tokenizer.decode(line_break[:1]):
            line_break.pop(0)
        if not line_break:
            raise UserError("the GSRM's tokenizer drops line breaks: use a model that can write more than one line")
        correct, wrong = self._encode(CORRECT), self._encode(WRONG)
        shared = 0
        while shared < min(len(correct), len(wrong)) and correct[shared] == wrong[shared]:
            shared += 1
        if shared == min(len(correct), len(wrong)) or policy.tokenizer.unk_token_id in (correct[shared], wrong[shared]):
            raise UserError(f"the GSRM's tokenizer cannot tell '{CORRECT}' from '{WRONG}': use another model")
        self.slot = (*line_break, *correct[:shared])
        self.correct, self.wrong = tuple(correct[shared:]), tuple(wrong[shared:])
        self._heading = self._encode(f"\n{HEADING}")
        self.special_tokens = control_strings(policy.tokenizer)
        self._section = lru_cache(maxsize=65536)(self._encode_section)  # most steps recur

    def prompt(self, pair: Pair) -> list[int]:
        """Token ids before the GSRM's own reasoning, or before the check if it writes none."""
        return self._policy.encode_prompt(self._domain, pair)

    def check(self, shown: Shown) -> Check:
        """The examining part with every slot filled by the placeholder `correct`.

        So one forward pass reads all slots, and no verdict depends on another; training examples look the same.
        """
        check = Check(list(self._heading), [], [k for k, text in enumerate(shown) if text is not None])
        for k in check.asked:
            check.ids.extend([*self._section(k, shown[k] or ""), *self.slot])
            check.slots.append(len(check.ids) - 1)
            check.ids.extend(self.correct)
        return check

    def fitting_check(self, shown: Shown, before: int, pair: Pair) -> Check:
        """The same, within the model's positions after `before` tokens.

        If it is too long, the longest step text is halved until it fits, because a policy in training may write
        anything. Raises UserError if the pair alone is too long.
        """
        limit = getattr(self._policy.model.config.get_text_config(), "max_position_embeddings", None)
        while True:
            check = self.check(shown)
            longest = max((len(text) for text in shown if text), default=0)
            if limit is None or before + len(check.ids) <= limit:
                return check
            if longest <= 8:
                raise UserError(
                    f"pair '{pair.pair_id}': {before} tokens of prompt and reasoning leave the GSRM no room in the "
                    f"model's {limit} positions: cut the prompt's fields in the domain"
                )
            shown = tuple(text[: longest // 2] if text else None for text in shown)

    def _encode_section(self, k: int, text: str) -> tuple[int, ...]:
        return tuple(self._encode(f"\n[{self._domain.step_keys[k]}] {text}"))

    def _encode(self, text: str) -> list[int]:
        return self._policy.encode_response(text)[:-1]


def control_strings(tokenizer: Any) -> tuple[str, ...]:
    """Texts that a tokenizer reads as structure anywhere: special and added tokens."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values())
    return tuple(sorted({*tokenizer.all_special_tokens, *added}))
