"""Token spans against a slow reference, for every kind of tokenizer, on encoded texts and on arbitrary ids."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from taosr_she.domain.domain import load_domain
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import _pieces, decode_response, token_ends, token_steps

DOMAIN = load_domain("taobao")
RESPONSE = (
    "[query] category: running shoes; color: red\n[product] category: running shoes; color: blue; brand: 你好 Café\n"
    "[category] same\n[attributes] color: conflict\n[label] 3 R10"
)
CORPUS = [RESPONSE, "don't stop . it's red , 你 好", "[label] 4"] * 5
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def trained(model, trainer, **parts) -> Tokenizer:
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level() -> Tokenizer:
    return trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=400,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<pad>", "<|end|>", "<|im_start|>"],
        ),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
    )


def byte_level_headers() -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.add_tokens(["[query]", "[product]", "\n[label] ", "é ä"])
    return tokenizer


def llama() -> Tokenizer:
    """Spaces as "▁", characters outside the vocabulary (line breaks too) as bytes, the first space stripped."""
    learnt = trained(
        models.BPE(), trainers.BpeTrainer(vocab_size=200), normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Split("▁", "merged_with_next"),
    )  # fmt: skip
    kept = [token for token in learnt.get_vocab() if token.replace("▁", "").isascii() and "\n" not in token]
    merges = [(a, b) for a, b in json.loads(learnt.to_str())["model"]["merges"] if a + b in kept]
    vocab = {token: i for i, token in enumerate(["<unk>", "<pad>", "<|end|>", *BYTES, *kept])}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """T5's shape: no bytes, unknown characters, words with a leading space."""
    return trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=150, special_tokens=["<unk>", "<pad>", "<|end|>"], unk_token="<unk>"),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
    )


def unigram_bytes() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("<pad>", 0.0), ("<|end|>", 0.0), *((b, -20.0) for b in BYTES)]
    pieces += [(c, -4.0) for c in "▁abcdefghijklmnopqrstuvwxyz[]:;0123456789R"] + [("▁red", -2.0), ("▁[", -2.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


def word_level() -> Tokenizer:
    return trained(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>", "<|end|>"]),
        pre_tokenizer=pre_tokenizers.Split(Regex(r"\[[a-z]+\]|\n|[^\s\[\]]+"), "removed", invert=True),
    )


def word_piece() -> Tokenizer:
    tokenizer = trained(
        models.WordPiece(unk_token="<unk>"),
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=["<unk>", "<pad>", "<|end|>"]),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(cleanup=True),
    )
    tokenizer.add_tokens(["\n"])
    return tokenizer


def contextual() -> Tokenizer:
    """A decoder in which neighbours change each other's text: only prefixes are exact."""
    tokenizer = byte_level()
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse(), decoders.Replace("re", "RRR")])
    return tokenizer


KINDS = {
    f.__name__: f
    for f in (byte_level, byte_level_headers, llama, unigram, unigram_bytes, word_level, word_piece, contextual)
}
every_kind = pytest.mark.parametrize("kind", KINDS)
some = settings(deadline=None, max_examples=60)


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    raw = KINDS[kind]()
    unknown = {"unk_token": "<unk>"} if raw.token_to_id("<unk>") is not None else {}
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<pad>", **unknown)


def decode(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def slow_ends(tokenizer, ids) -> list[int]:
    closing = {tokenizer.convert_tokens_to_ids(t) for t in ("<|end|>", "<pad>", "<|im_start|>")}
    content = list(ids)
    while content and content[-1] in closing - {tokenizer.unk_token_id}:
        content.pop()
    text, ends, end = decode(tokenizer, content), [], 0
    for length in range(1, len(content) + 1):
        prefix = decode(tokenizer, content[:length])
        shared = 0
        while shared < min(len(prefix), len(text)) and prefix[shared] == text[shared]:
            shared += 1
        end = max(end, shared)
        ends.append(end)
    return ends + [len(text)] * (len(ids) - len(content))


def slow_steps(text: str, ends: list[int]) -> list[int]:
    """Step of every character by reading lines, then of every token by its last character."""
    by_character, step, seen = [], 0, False
    for line in text.split("\n"):
        blanks = len(line) - len(line.lstrip(" \t"))
        key, bracket, _ = line[blanks + 1 :].partition("]")
        header = line[blanks : blanks + 1] == "[" and bracket and key[:1].islower() and key.isascii()
        if header and all(c.islower() or c == "_" for c in key):
            by_character += [step] * blanks
            seen, step = True, DOMAIN.step_keys.index(key) if key in DOMAIN.step_keys else step
            by_character += [step] * (len(line) - blanks + 1)
        else:
            by_character += [step] * (len(line) + 1)
    return [by_character[max(end - 1, 0)] if seen else DOMAIN.label_step for end in ends]


def check(tokenizer, ids) -> None:
    text, ends = decode_response(tokenizer, ids), token_ends(tokenizer, ids)
    assert ends == slow_ends(tokenizer, ids)
    assert ends == sorted(ends) and len(ends) == len(ids) and (not ids or ends[-1] == len(text))
    assert token_steps(DOMAIN, tokenizer, ids, parse_response(DOMAIN, text)) == slow_steps(text, ends)


snippets = st.one_of(
    st.sampled_from([f"[{key}] " for key in (*DOMAIN.step_keys, "colour", "Query")]),
    st.sampled_from(
        ["\n", "\n ", " ", "same", "color: red", "4", "R10", "😀", "你好", "e\u0301", "don't .", "▁", "\ufffd"]
    ),
    st.text(max_size=6),
)


@every_kind
@some
@given(parts=st.lists(snippets, max_size=25), end=st.integers(0, 3))
def test_encoded_texts(kind: str, parts: list[str], end: int) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.encode("".join(parts), add_special_tokens=False)
    check(tokenizer, ids + [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.pad_token_id][:end])


@every_kind
@some
@given(data=st.data())
def test_arbitrary_ids(kind: str, data: st.DataObject) -> None:
    """What a bad model emits: broken bytes, special tokens in the middle, ids beyond the vocabulary."""
    tokenizer = tokenizer_of(kind)
    check(tokenizer, data.draw(st.lists(st.integers(0, len(tokenizer) + 2), max_size=40)))


@pytest.mark.parametrize("kind", ["byte_level", "byte_level_headers", "llama", "unigram_bytes", "word_level"])
def test_a_good_response_has_its_tokens_in_order(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = [*tokenizer.encode(RESPONSE, add_special_tokens=False), tokenizer.eos_token_id]
    text = decode_response(tokenizer, ids)
    response = parse_response(DOMAIN, text)
    steps = token_steps(DOMAIN, tokenizer, ids, response)
    assert response.reason is None
    assert steps == sorted(steps) and set(steps) == set(range(5)) and steps[-1] == 4
    headers = [i for i in range(1, len(steps)) if steps[i] != steps[i - 1]]
    ends = token_ends(tokenizer, ids)
    assert all("[" in text[ends[i - 1] : ends[i]] for i in headers)


@pytest.mark.parametrize("kind", ["byte_level", "llama", "unigram_bytes"])
def test_the_last_of_the_bytes_holds_the_character(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.encode("a😀😁b", add_special_tokens=False)
    text, ends = decode_response(tokenizer, ids), token_ends(tokenizer, ids)
    pieces = [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    first, second = pieces.index("😀"), pieces.index("😁")
    assert pieces[first - 3 : first] == pieces[second - 3 : second] == ["", "", ""]


def test_a_token_over_a_boundary_belongs_to_the_section_it_opens() -> None:
    tokenizer = tokenizer_of("byte_level_headers")
    ids = tokenizer.encode("[category] same\n[label] 4", add_special_tokens=False)
    straddling = ids.index(tokenizer.convert_tokens_to_ids("\n[label] "))
    steps = token_steps(DOMAIN, tokenizer, ids, parse_response(DOMAIN, decode_response(tokenizer, ids)))
    assert steps == [2] * straddling + [4] * (len(ids) - straddling)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("well\n[product] x", [0, 1]),  # before the first header
        ("[query] a\n[colour] b\n[category] c", [0, 2]),  # an unknown section continues
        ("[query] a\n[label] 4\n[query] b", [0, 4, 0]),  # repeated
        ("nothing", [4]),
        ("", [4]),
    ],
)
def test_malformed_responses(text: str, expected: list[int]) -> None:
    tokenizer = tokenizer_of("byte_level")
    ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
    steps = token_steps(DOMAIN, tokenizer, ids, parse_response(DOMAIN, text))
    assert [s for i, s in enumerate(steps) if i == 0 or s != steps[i - 1]] == expected


def test_only_special_tokens_at_the_end_are_left_out() -> None:
    tokenizer = tokenizer_of("byte_level")
    start, end = tokenizer.convert_tokens_to_ids("<|im_start|>"), tokenizer.eos_token_id
    ids = [start, *tokenizer.encode("[label] 4"), start, end]
    assert decode_response(tokenizer, ids) == "<|im_start|>[label] 4"
    words = tokenizer_of("word_level")
    ids = [*words.encode("[label] 4"), words.unk_token_id, words.eos_token_id]
    assert decode_response(words, ids) == "[label] 4 <unk>"


def test_a_pad_token_set_later_counts() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<|end|>")
    ids = [*tokenizer.encode("[label] 4"), tokenizer.eos_token_id]
    assert decode_response(tokenizer, ids) == "[label] 4"
    tokenizer.add_special_tokens({"pad_token": "<|filler|>"})
    assert decode_response(tokenizer, [*ids, tokenizer.pad_token_id]) == "[label] 4"


def test_a_response_from_other_ids_is_refused() -> None:
    tokenizer = tokenizer_of("byte_level")
    with pytest.raises(ValueError, match="not parsed from these ids"):
        token_steps(DOMAIN, tokenizer, tokenizer.encode("[label] 4"), parse_response(DOMAIN, "[label] 4 "))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"contextual"}))
def test_usual_decoders_need_no_prefixes_of_the_whole(kind: str) -> None:
    """Linear cost: the cached texts of single tokens already join to the response."""
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.encode(RESPONSE + " 😀你 don't", add_special_tokens=False)
    assert "".join(_pieces(tokenizer, ids)) == decode(tokenizer, ids)
