"""
The tiny CLIP's tokenizer: CLIP's byte-level BPE with a vocabulary of Motion Shapes' English.

It encodes any text: an unknown word becomes several tokens, in the worst case one for each byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1000, max_length: int = 77) -> CLIPTokenizer:
    """
    Trains a tokenizer.

    Args:
        texts: the English to learn words from; frequent words get a token of their own first.
        vocab_size: tokens at most; 514 are bytes and the two special tokens.
        max_length: the tokenizer's `model_max_length`.

    Returns:
        A `CLIPTokenizer` in CLIP's order: bytes, bytes that end a word, merges, start and end of text.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    if vocab_size < len(tokens) + 2:
        raise ValueError(f"vocab_size must be at least {len(tokens) + 2} (all bytes and 2 special tokens)")
    merges = _train_merges(texts, alphabet, vocab_size)[: vocab_size - len(tokens) - 2]
    tokens += [left + right for left, right in merges]
    vocab = {token: number for number, token in enumerate([*tokens, START_OF_TEXT, END_OF_TEXT])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


def _train_merges(texts: Iterable[str], alphabet: list[str], vocab_size: int) -> list[tuple[str, str]]:
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    # Captions are plain text, in which this finds the same words as CLIPTokenizer.
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, end_of_word_suffix=END_OF_WORD, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
