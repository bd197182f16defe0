"""Every method once more, from its paper or published code: Python loops over Python floats."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import assume

# Scores nearer than this may change places in float32.
MARGIN = 1e-5


def plain(tensor):
    """A tensor as nested lists of Python's own numbers."""
    return tensor.double().tolist()


def best(scores, keep):
    """Positions of the `keep` highest, best first, the earlier of equals."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    if 0 < keep < len(scores):
        gap = scores[order[keep - 1]] - scores[order[keep]]
        assume(gap == 0 or gap > MARGIN)
    return order[:keep]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def length(a):
    return math.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / max(length(a) * length(b), 1e-12)


def softmax(logits):
    top = max(logits)
    powers = [math.exp(x - top) for x in logits]
    return [p / sum(powers) for p in powers]


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def attention(seen):
    """[head][query][token]."""
    queries, keys = plain(seen.queries), plain(seen.keys)
    share = len(queries) // len(keys)
    weights = []
    for head, asked in enumerate(queries):
        weights.append([])
        for number, query in enumerate(asked):
            place = seen.tokens - len(asked) + number
            logits = []
            for column, key in enumerate(keys[head // share]):
                logit = dot(query, key) * seen.scaling
                unseen = seen.reach is not None and column <= place - seen.reach
                logits.append(-math.inf if column > place or unseen else logit)
            weights[-1].append(softmax(logits))
    return weights


def fastv(seen, audio, keep):
    last = mean([head[-1] for head in attention(seen)])
    return sorted(best([last[column] for column in audio.tolist()], keep))


def dart(seen, audio, keep, audio_pivots=4, text_pivots=4, as_published=False):
    """The published code's steps on columns, then what the quotas leave."""
    columns, normed, keys = audio.tolist(), plain(seen.normed), plain(seen.keys)
    norms = [sum(abs(x) for head in keys for x in head[c]) for c in range(seen.tokens)]
    strongest = best([norms[c] for c in columns], min(audio_pivots, keep))
    strongest = [columns[i] for i in strongest]
    after = list(range(columns[-1] + 1, seen.tokens))
    text = [after[i] for i in best([norms[c] for c in after], text_pivots)]
    stand_in = text[0] if text else strongest[0]
    text += [stand_in] * (min(text_pivots, seen.tokens) - len(text))
    walk = list(set(strongest + text)) if as_published else strongest + text
    quota = (keep - len(strongest)) // (audio_pivots + text_pivots)
    free = [c for c in columns if c not in strongest]
    kept = set(strongest)
    for pivot in walk:
        taken = best([-cosine(normed[pivot], normed[c]) for c in free], quota)
        taken = [free[i] for i in taken]
        kept |= set(taken)
        free = [c for c in free if c not in taken]
    doubles = [max(cosine(normed[p], normed[c]) for p in walk) for c in free]
    kept |= {free[i] for i in best([-d for d in doubles], keep - len(kept))}
    return [columns.index(c) for c in sorted(kept)]


def pieces(starts, total):
    return [range(a, b) for a, b in zip(starts, [*starts[1:], total], strict=True)]


def pooled(seen, audio, starts):
    hidden = plain(seen.hidden)
    heard = [hidden[c] for c in audio.tolist()]
    return [mean([heard[i] for i in piece]) for piece in pieces(starts, len(heard))]


def merge_starts(seen, audio, keep):
    hidden = plain(seen.hidden)
    heard = [hidden[c] for c in audio.tolist()]
    unlike = [-cosine(a, b) for a, b in pairwise(heard)]
    return [0, *sorted(i + 1 for i in best(unlike, keep - 1))]


def knorm(seen):
    return [[-length(key) for key in head] for head in plain(seen.keys)]


def keydiff(seen):
    scores = []
    for head in plain(seen.keys):
        anchor = mean([[x / max(length(key), 1e-12) for x in key] for key in head])
        scores.append([-cosine(key, anchor) for key in head])
    return scores


def tova(seen):
    last = mean([head[-1] for head in attention(seen)])
    return [[*last[:-1], math.inf]] * len(seen.keys)


def snapkv(seen, kernel):
    """Scores of all tokens before the window."""
    weights, groups = attention(seen), len(seen.keys)
    share, window = len(weights) // groups, len(weights[0])
    before = seen.tokens - window
    scores = []
    for group in range(groups):
        heads = []
        for head in weights[group * share : (group + 1) * share]:
            votes = mean(head)[:before]
            padded = [0.0] * (kernel // 2) + votes + [0.0] * (kernel // 2)
            heads.append([sum(padded[i : i + kernel]) / kernel for i in range(before)])
        scores.append(mean(heads))
    return scores


def turn(vector, angles):
    """Dimension i turns with dimension i + len(angles); the rest stays."""
    pairs = len(angles)
    out = list(vector)
    for i, angle in enumerate(angles):
        x, y = vector[i], vector[i + pairs]
        out[i] = x * math.cos(angle) - y * math.sin(angle)
        out[i + pairs] = x * math.sin(angle) + y * math.cos(angle)
    return out


def expected_attention(seen, positions, sinks, covariance, value_norm, epsilon):
    keys, values, queries = plain(seen.keys), plain(seen.values), plain(seen.queries)
    groups, share = len(keys), len(queries) // len(keys)
    pairs = seen.rotary[0].shape[1] // 2
    speeds = [1 / 3.0**i for i in range(pairs)]
    coming = [seen.tokens + j for j in range(min(positions, seen.tokens))]
    scores = []
    for group in range(groups):
        heads = []
        for head in queries[group * share : (group + 1) * share]:
            told = []
            for place, query in enumerate(head):
                before = turn(query, [-place * s for s in speeds])
                if place >= sinks:
                    told.append(mean([turn(before, [p * s for s in speeds]) for p in coming]))
            centre = mean(told)
            logits = []
            for key in keys[group][sinks:]:
                logit = seen.scaling * dot(key, centre)
                if covariance:
                    spread = [
                        dot(key, [x - m for x, m in zip(q, centre, strict=True)]) for q in told
                    ]
                    logit += seen.scaling**2 * np.mean(np.square(spread)) / 2
                logits.append(logit)
            heads.append(softmax(logits))
        expected = mean(heads)
        if value_norm:
            norms = [length(v) for v in values[group][sinks:]]
            expected = [(e + epsilon) * n for e, n in zip(expected, norms, strict=True)]
        scores.append([math.inf] * sinks + expected)
    return scores
