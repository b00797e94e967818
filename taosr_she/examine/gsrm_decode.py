"""The judge's answer, decoded so that it always holds a verdict for every step it was asked about.

Headers and the line break before a verdict are forced; free is only the critique, up to a length limit. So the weights
decide what the verdicts are, never whether there are any.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.attention import sdpa_kernel

from taosr_she.errors import UserError
from taosr_she.examine.gsrm_prompt import JudgeFormat
from taosr_she.model.cache import make_cache
from taosr_she.model.draw import draw, row_uniforms
from taosr_she.model.logprobs import logits_at
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import ATTENTION, COMPACT_SHARE, _forward


@dataclass(frozen=True)
class Question:
    """One response to be judged: the judge's prompt, and the indices of the steps to be judged, at least one."""

    prompt: list[int]
    steps: tuple[int, ...]
    seed: int = 0  # of this question's random numbers, so that no neighbour changes an answer


@dataclass
class Answer:
    """For each asked step P(correct) and the tokens of the critique."""

    verdicts: list[float] = field(default_factory=list)
    critiques: list[list[int]] = field(default_factory=list)


@torch.inference_mode()
def verdicts_in_one_pass(
    policy: Policy, form: JudgeFormat, questions: Sequence[Question], batch_rows: int
) -> list[Answer]:
    """Verdicts without critiques: one forward pass a batch reads every slot of every response.

    The slots stand one after the other, and those before a slot are filled with `correct` whatever their own verdict
    is: a placeholder, as in the training examples for this mode. No verdict depends on another.
    """
    answers: list[Answer] = [Answer() for _ in questions]
    with policy.evaluating(), sdpa_kernel(ATTENTION):
        for chosen in _batches(questions, batch_rows):
            sequences, rows, positions = [], [], []
            for row, i in enumerate(chosen):
                ids = list(questions[i].prompt)
                for header in form.headers(questions[i].steps):
                    ids += [*header, *form.slot]
                    rows.append(row)
                    positions.append(len(ids) - 1)
                    ids += form.correct
                sequences.append(ids[: len(ids) - len(form.correct)])
            logits = logits_at(policy.model, sequences, torch.tensor(rows), torch.tensor(positions))
            values = _probabilities(logits, form).tolist()
            for row, value in zip(rows, values, strict=True):
                answers[chosen[row]].verdicts.append(value)
    for answer in answers:
        answer.critiques = [[] for _ in answer.verdicts]
    return answers


@torch.inference_mode()
def verdicts_with_critiques(
    policy: Policy,
    form: JudgeFormat,
    questions: Sequence[Question],
    stops: torch.Tensor,
    max_critique_tokens: int,
    temperature: float,
    votes: int,
    batch_rows: int,
) -> list[list[Answer]]:
    """`votes` answers to each question. Prompts run once; every answer goes its own way through critiques and slots.

    `stops` (V,) bool: tokens that end a critique. A verdict sees the verdicts before it as words: the likelier one.
    """
    answers: list[list[Answer]] = [[] for _ in questions]
    with policy.evaluating(), sdpa_kernel(ATTENTION):
        for chosen in _batches(questions, max(1, batch_rows // votes)):
            batch = [questions[i] for i in chosen]
            walks = _decode(policy, form, batch, stops, max_critique_tokens, temperature, votes)
            for n, i in enumerate(chosen):
                answers[i] = [walk.answer for walk in walks[n * votes : (n + 1) * votes]]
    return answers


def answer_room(form: JudgeFormat, steps: int, max_critique_tokens: int) -> int:
    """Most tokens of an answer about so many steps."""
    header = max(map(len, (*form.opening, *form.header)))
    return steps * (header + max_critique_tokens + len(form.slot) + max(len(form.correct), len(form.wrong)))


def _batches(questions: Sequence[Question], rows: int) -> list[list[int]]:
    """Indices of the questions in batches; prompts of like length together."""
    order = sorted(range(len(questions)), key=lambda i: len(questions[i].prompt))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def _probabilities(logits: torch.Tensor, form: JudgeFormat) -> torch.Tensor:
    """P(correct) / (P(correct) + P(wrong)), (N,), from the logits (N, V) at slots."""
    values = torch.sigmoid(logits[:, form.correct[0]].float() - logits[:, form.wrong[0]].float())
    if not bool(values.isfinite().all()):
        raise UserError("the judge's output is not finite: its training has diverged; lower the learning rate")
    return values


class _Walk:
    """One answer on its way: which token comes next, given what the model would write and what it thinks."""

    def __init__(self, form: JudgeFormat, steps: Sequence[int], max_critique_tokens: int) -> None:
        self.answer = Answer()
        self.form = form
        self.limit = max_critique_tokens
        self.headers = form.headers(steps)
        self.forced: list[int] = []  # tokens to come, the next one last
        self.in_slot = False
        self.done = False
        self._open_section()
        self.first = self.forced[::-1]  # runs with the prompt
        self.forced = []

    def next(self, drawn: int, stops: bool, verdict: float) -> int:
        """The token to feed. `verdict` counts only when the last token fed was the end of a slot."""
        if self.done:  # stays in the batch until it is worth leaving; nobody looks at what is fed
            return drawn
        if self.forced:
            return self.forced.pop()
        if self.in_slot:
            self.answer.verdicts.append(verdict)
            self.in_slot = False
            self.done = len(self.answer.verdicts) == len(self.headers)
            if self.done:
                return drawn
            self.forced = list(reversed(self.form.correct if verdict >= 0.5 else self.form.wrong))
            self._open_section()
            return self.forced.pop()
        critique = self.answer.critiques[-1]
        if stops or len(critique) == self.limit:
            self.forced = list(reversed(self.form.slot))
            self.in_slot = True
            return self.forced.pop()
        critique.append(drawn)
        return drawn

    def _open_section(self) -> None:
        self.forced = [*reversed(self.headers[len(self.answer.verdicts)]), *self.forced]
        self.answer.critiques.append([])


def _decode(
    policy: Policy,
    form: JudgeFormat,
    questions: list[Question],
    stops: torch.Tensor,
    max_critique_tokens: int,
    temperature: float,
    votes: int,
) -> list[_Walk]:
    """The finished walks of all questions, `votes` of each adjacent."""
    device = policy.device
    prompts, walks = [], []
    for question in questions:
        own = [_Walk(form, question.steps, max_critique_tokens) for _ in range(votes)]
        prompts.append(question.prompt + own[0].first)
        walks += own
    steps = answer_room(form, max(len(q.steps) for q in questions), max_critique_tokens)
    uniforms = torch.zeros(len(walks), steps)
    if temperature > 0:
        uniforms = torch.cat([row_uniforms(range(votes), steps, q.seed) for q in questions])
    uniforms, stops = uniforms.to(device), stops.to(device)

    width = max(map(len, prompts))
    padded = torch.tensor([[policy.pad_id] * (width - len(p)) + p for p in prompts], device=device)
    position = torch.tensor([len(p) for p in prompts], device=device)
    visible = torch.arange(width + steps, device=device) >= width - position[:, None]
    padding = any(len(p) < width for p in prompts)
    kept = make_cache(policy.model.config, width + steps)
    first = (torch.arange(width, device=device) - (width - position[:, None])).clamp(min=0)
    logits = _forward(policy.model, padded, visible[:, :width] if padding else None, first, kept)

    spread = torch.arange(len(questions), device=device).repeat_interleave(votes)
    kept.reorder_cache(spread)
    logits, visible, position = logits[spread], visible[spread], position[spread]
    live = list(range(len(walks)))
    for step in range(steps):
        tokens, _ = draw(logits, uniforms[live, step], temperature)
        seen = zip(tokens.tolist(), stops[tokens].tolist(), _probabilities(logits, form).tolist(), strict=True)
        fed = [walks[w].next(*row) for w, row in zip(live, seen, strict=True)]
        going = [i for i, w in enumerate(live) if not walks[w].done]
        if not going:
            break
        if (len(live) - len(going)) * COMPACT_SHARE >= len(live):
            keep = torch.tensor(going, device=device)
            kept.reorder_cache(keep)
            visible, position = visible[keep], position[keep]
            live, fed = [live[i] for i in going], [fed[i] for i in going]
        new = torch.tensor(fed, device=device)[:, None]
        logits = _forward(
            policy.model, new, visible[:, : width + step + 1] if padding else None, position[:, None], kept
        )
        position = position + 1
    return walks
