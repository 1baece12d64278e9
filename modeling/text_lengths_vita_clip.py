"""
Little of what is computed is to be padding: texts are cut after the longest, and those of similar length are encoded
together.
"""

from collections import Counter

import torch

from .graphs_vita_clip import in_graph

# What it costs to encode one more group, in tokens of text whose encoding takes as long: starting every operation of
# every layer once more. A fast device waits for that; a CPU hardly does. Both are estimates; how texts are grouped
# changes the time, and no result.
GROUP_COST_ON_CPU, GROUP_COST_ELSEWHERE = 256, 8192


def trim_texts(end_positions: torch.Tensor, *per_token: torch.Tensor | None) -> list[torch.Tensor | None]:
    """Cuts `(N, S)` tensors after the longest text; in a compiled or exported graph, where sizes are fixed, not."""
    if in_graph():
        return list(per_token)
    longest = int(end_positions.max()) + 1
    return [tensor if tensor is None else tensor[:, :longest] for tensor in per_token]


def group_by_length(lengths: list[int], group_cost: int) -> list[list[int]]:
    """
    Texts of `lengths` tokens in groups, each to be padded to its own longest: the groups for which the sum of

        group_cost + (texts of the group) * (length of its longest)

    is least. A causal transformer computes nothing for a text's end token from what stands after it, so that the
    result is the same however much padding there is.

    Returns:
        For each group, from short to long, the positions in `lengths` of its texts, in their order.
    """
    count = Counter(lengths)
    distinct = sorted(count)
    # best[n]: the least cost of the texts of the n shortest lengths, and where their last group begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end, longest in enumerate(distinct, start=1):
        texts, choices = 0, []
        for begin in reversed(range(end)):
            texts += count[distinct[begin]]
            choices.append((best[begin][0] + group_cost + texts * longest, begin))
        best.append(min(choices))
    groups: list[list[int]] = []
    end = len(distinct)
    while end:
        begin = best[end][1]
        members = set(distinct[begin:end])
        groups.insert(0, [index for index, length in enumerate(lengths) if length in members])
        end = begin
    return groups


def groups_to_encode(lengths: list[int], chunk_size: int | None, device: torch.device) -> list[list[int]]:
    """
    Texts by [`group_by_length`], in chunks of at most `chunk_size`. In a compiled or exported graph, whose sizes are
    fixed and which every group would make larger, they all are one.
    """
    everything = list(range(len(lengths)))
    if in_graph():
        return [everything]
    groups = group_by_length(lengths, GROUP_COST_ON_CPU if device.type == "cpu" else GROUP_COST_ELSEWHERE)
    size = chunk_size or max(len(lengths), 1)
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]
