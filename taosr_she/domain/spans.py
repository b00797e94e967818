"""Token spans: which step every generated token belongs to, determined from the generated ids.

Text is never tokenised again. A tokenizer gives offsets for text that it encodes, not for ids that a model generates,
so the offsets are recovered by decoding. A character belongs to the token that completes it: if several tokens spell
one emoji byte by byte, the emoji belongs to the last one and the others have no text.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response, find_headers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

_BROKEN = "\ufffd"  # what decoders write for bytes that are no character (yet)


def decode_response(tokenizer: "Tokenizer", ids: Sequence[int]) -> str:
    """The text of generated ids, as it is parsed: without end, pad and other special tokens at the end.

    Everything else stays exactly as generated. This includes special tokens in the middle, so a step that contains one
    is examined with it.
    """
    return _decode(tokenizer, ids[: _content_length(tokenizer, ids)])


def token_ends(tokenizer: "Tokenizer", ids: Sequence[int]) -> list[int]:
    """Offset in `decode_response(tokenizer, ids)` at which the text of each token ends: T non-decreasing integers.

    The text of token t is `text[ends[t - 1] : ends[t]]`; together the tokens cover the text. The offsets are exact for
    any tokenizer that can decode. Texts of single tokens are used only if joining them gives the decoded text;
    otherwise prefixes are decoded.
    """
    content = list(ids[: _content_length(tokenizer, ids)])
    pieces = _pieces(tokenizer, content)
    text = _decode(tokenizer, content)
    if "".join(pieces) != text:
        pieces = _prefix_pieces(tokenizer, content)
    ends, end = [], 0
    for piece in pieces:
        end += len(piece)
        ends.append(end)
    return ends + [len(text)] * (len(ids) - len(content))


def token_steps(domain: Domain, tokenizer: "Tokenizer", ids: Sequence[int], response: Response) -> list[int]:
    """Index of the step (0..K-1, schema order) of each of the T generated tokens. `response` is parsed from these ids.

    A token belongs to the step of its last character, so "\\n[" belongs to the section it opens. A section belongs to
    the step of its key, even if it is repeated or out of order; an unknown section continues the step before it. Text
    before the first header belongs to step 0, the end token and everything after it to the last section. If there is no
    section at all, all tokens belong to the label step, because it carries the outcome.
    """
    ends = token_ends(tokenizer, ids)
    if ends and ends[-1] != len(response.text):
        raise ValueError("the response was not parsed from these ids: its text has another length")
    headers = find_headers(response.text)
    starts, steps = [0], [0 if headers else domain.label_step]
    for header in headers:
        starts.append(header.start)
        steps.append(domain.step_keys.index(header.key) if header.key in domain.step_keys else steps[-1])
    return [steps[bisect_right(starts, max(end - 1, 0)) - 1] for end in ends]


def _decode(tokenizer: "Tokenizer", ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


_SPECIAL: "WeakKeyDictionary[Tokenizer, tuple[list[int], frozenset[int]]]" = WeakKeyDictionary()


def _content_length(tokenizer: "Tokenizer", ids: Sequence[int]) -> int:
    """Number of ids before the special tokens at the end."""
    named = tokenizer.all_special_ids
    known = _SPECIAL.get(tokenizer)
    if known is None or known[0] != named:  # a pad token may be set at any time
        added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        closing = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        # An unknown word is content, not an end: "[label] 4 <unk>" must not pass as "[label] 4".
        unknown = {tokenizer.unk_token_id} - closing
        known = _SPECIAL[tokenizer] = (named, frozenset((added | set(named)) - unknown))
    length = len(ids)
    while length and ids[length - 1] in known[1]:
        length -= 1
    return length


_PIECES: "WeakKeyDictionary[Tokenizer, dict[int, tuple[str, str] | None]]" = WeakKeyDictionary()


def _piece(tokenizer: "Tokenizer", token: int) -> tuple[str, str] | None:
    """(text at the start of a response, text after another token) of one id; None if it depends on its neighbours.

    The two differ for decoders that strip a leading space (SentencePiece) or add one between words (word-level,
    WordPiece).
    """
    alone, twice = _decode(tokenizer, [token]), _decode(tokenizer, [token, token])
    if _BROKEN in twice or not twice.startswith(alone):
        return None
    return alone, twice[len(alone) :]


def _pieces(tokenizer: "Tokenizer", ids: list[int]) -> list[str]:
    """Text of each token from cached single-token texts; runs of tokens that depend on each other decode by prefixes.

    The result is a guess that the caller checks against the decoded text. It is right for byte-level BPE, SentencePiece
    with byte fallback, WordPiece and word-level decoders.
    """
    known = _PIECES.setdefault(tokenizer, {})
    for token in set(ids) - known.keys():
        known[token] = _piece(tokenizer, token)
    pieces: list[str] = []
    position = 0
    while position < len(ids):
        piece = known[ids[position]]
        if piece is not None:
            pieces.append(piece[position > 0])
            position += 1
            continue
        end = position
        while end < len(ids) and known[ids[end]] is None:
            end += 1
        before = max(position - 1, 0)  # with one token before the run, because decoders treat the first token specially
        pieces += _prefix_pieces(tokenizer, ids[before:end])[position - before :]
        position = end
    return pieces


def _prefix_pieces(tokenizer: "Tokenizer", ids: list[int]) -> list[str]:
    """Text of each token, found by decoding every prefix of the ids: always exact, quadratic in their number."""
    text = _decode(tokenizer, ids)
    pieces, end = [], 0
    for length in range(1, len(ids) + 1):
        prefix = _decode(tokenizer, ids[:length])
        # An incomplete character decodes to replacement characters, which the text does not contain.
        stable = len(prefix) if text.startswith(prefix) else _shared(prefix, text)
        pieces.append(text[end : max(end, stable)])
        end = max(end, stable)
    return pieces


def _shared(a: str, b: str) -> int:
    """Number of leading characters that two different texts share."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
