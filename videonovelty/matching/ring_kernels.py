"""The compiled kernels of the exact join: substrings of the code on a ring, each with those that follow it.

Lay disjoint substrings of a code on a ring and allow each so many differing bits that all of them together are allowed
one more than the radius. Then two codes within the radius differ, from some substring on, by less than what is allowed
up to there, however far one goes ("pigeonring": Qin and Xiao, "Pigeonring: a principle for faster thresholded
similarity search", 2018; it is the cycle lemma). So what shares a bucket is asked about the substrings that follow it
in 32 bits, which unrelated codes pass about once in a hundred thousand times: the codes themselves are hardly read.

A *place* is a row (word, shift, allowed, bound): where a substring of `width` bits lies, how many bits may differ in it
(-1: no pair is looked for there), and how many in it and the `followers` places after it together. Nothing here checks
its arguments: `hamming` does.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from videonovelty.matching.kernels import FOUND, array_type, grown, jit, lanes_within, ones, wide_vectors

NEAR_BITS = 32
"""Bits of the substrings that follow, as they are kept beside a code."""
MAX_ROWS = 1 << 24
"""Rows of a sorted side: a record of the sort is 32 bits that follow, 24 of the row, 8 of the substring."""
PADDING = 64
"""Entries after the last that may be read."""

_BLOCK = 1024


_few, _some, _many = lanes_within(8), lanes_within(16), lanes_within(64)


@jit
def _cut(words, start, size, places, number, width, followers, key, near):  # type: ignore[no-untyped-def]
    """Write the substring at place `number` of rows [start, start + size) to `key`, those that follow to `near`."""
    mask = np.uint64((1 << width) - 1)
    by = np.uint64(places[number, 1])
    line = words[places[number, 0], start : start + size]
    for i in range(size):
        key[i] = (line[i] >> by) & mask
        near[i] = 0
    for f in range(followers):
        place = places[(number + 1 + f) % len(places)]
        by = np.uint64(place[1])
        to = np.uint32(f * width)
        line = words[place[0], start : start + size]
        for i in range(size):
            near[i] |= np.uint32(np.uint32((line[i] >> by) & mask) << to)


@jit
def _differing(one, other, places, number, width, followers):  # type: ignore[no-untyped-def]
    """Return how many bits of the substrings from place `number` on differ, given the words of both codes."""
    mask = np.uint64((1 << width) - 1)
    total = np.uint64(0)
    for f in range(followers + 1):
        place = places[(number + f) % len(places)]
        total += ones(((one[place[0]] ^ other[place[0]]) >> np.uint64(place[1])) & mask)
    return np.int64(total)


@jit
def _met_first(one, other, places, number, width, followers):  # type: ignore[no-untyped-def]
    """Tell whether `number` is the first place at which this pair is looked at, so that it is returned once."""
    for t in range(number + 1):
        if (
            _differing(one, other, places, t, width, 0) <= places[t, 2]
            and _differing(one, other, places, t, width, followers) <= places[t, 3]
        ):
            return t == number
    return False


@jit
def sort_rows(words, places, number, width, followers, records, offsets, ids, near):  # type: ignore[no-untyped-def]
    """Sort by the substring, into bucket offsets, row numbers and what follows; two passes of 8 bits at most.

    In a pass there is one write position a value, so that all of them stay in the cache.
    """
    n = words.shape[1]
    low_bits = width // 2
    n_low, n_high = 1 << low_bits, 1 << (width - low_bits)
    low_mask = np.uint32(n_low - 1)
    keys, nears = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)
    begin = np.zeros(n_high + 1, np.int64)
    by = np.uint64(places[number, 1] + low_bits)
    mask = np.uint64(n_high - 1)
    line = words[places[number, 0]]
    for i in range(n):
        begin[np.int64((line[i] >> by) & mask) + 1] += 1
    for h in range(n_high):
        begin[h + 1] += begin[h]
    place = begin.copy()
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        _cut(words, start, size, places, number, width, followers, keys, nears)
        for i in range(size):
            high = np.int64(keys[i] >> np.uint32(low_bits))
            p = place[high]
            place[high] = p + 1
            records[p] = (
                (np.uint64(nears[i]) << np.uint64(32))
                | (np.uint64(start + i) << np.uint64(8))
                | np.uint64(keys[i] & low_mask)
            )
    count = np.zeros(n_low, np.int64)
    offsets[0] = 0
    for h in range(n_high):
        count[:] = 0
        for i in range(begin[h], begin[h + 1]):
            count[np.int64(records[i] & np.uint64(low_mask))] += 1
        p = begin[h]
        for value in range(n_low):
            here = count[value]
            count[value] = p
            p += here
            offsets[h * n_low + value + 1] = p
        for i in range(begin[h], begin[h + 1]):
            record = records[i]
            low = np.int64(record & np.uint64(low_mask))
            p = count[low]
            count[low] = p + 1
            ids[p] = np.uint32((record >> np.uint64(8)) & np.uint64(MAX_ROWS - 1))
            near[p] = np.uint32(record >> np.uint64(32))


@jit
def join_place(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    words, offsets, ids, near, query_words, query_offsets, query_ids, query_near, masks, places, number, width,
    followers, radius, distinct, start, query_start, cap, most, counts, keys, distances, n_hits,
):  # fmt: skip
    """Compare each bucket of the queries with the known buckets whose substring differs by one of `masks`.

    Buckets are taken in groups of 256: a mask leads the whole group to one other group, which is then read in order.
    """
    wide_vectors()
    piece = 1024
    limit = np.uint64(radius)
    n_words = words.shape[0]
    n_buckets = len(query_offsets) - 1
    group = min(n_buckets, 256)
    for group_start in range(0, n_buckets, group):
        if query_offsets[group_start] == query_offsets[group_start + group]:
            continue
        for m in range(len(masks)):
            left = places[number, 3] - np.int64(ones(np.uint64(masks[m])))
            if left < 0:
                continue
            bound = np.uint32(left)
            for bucket in range(group_start, group_start + group):
                low, high = query_offsets[bucket], query_offsets[bucket + 1]
                if low == high:
                    continue
                other = bucket ^ masks[m]
                first, last = offsets[other], offsets[other + 1]
                for begin in range(first, last, piece):
                    stop = min(last, begin + piece)
                    for k in range(low, high):
                        query = query_near[k]
                        passing = np.uint64(0)
                        j = begin
                        while j + 64 <= stop:
                            passing |= _many(near, j, query, bound)
                            j += 64
                        while j < stop:
                            passing |= _some(near, j, query, bound)
                            j += 16
                        if passing == 0:
                            continue
                        q = np.int64(query_ids[k])
                        if counts[query_start + q] > cap:
                            continue
                        j = begin - 1
                        while j + 1 < stop:
                            j += 1
                            if (j - begin) % 16 == 0:
                                passing = _some(near, j, query, bound)
                                if passing == 0:
                                    j += 15
                                    continue
                            if (passing >> np.uint64((j - begin) % 16)) & np.uint64(1) == 0:
                                continue
                            row = np.int64(ids[j])
                            distance = np.uint64(0)
                            for word in range(n_words):
                                distance += ones(words[word, row] ^ query_words[word, q])
                            if distance > limit or (distinct and start + row == query_start + q):
                                continue
                            if not _met_first(words[:, row], query_words[:, q], places, number, width, followers):
                                continue
                            counts[query_start + q] += 1
                            if counts[query_start + q] > cap or n_hits >= most:
                                break
                            if n_hits == len(keys):
                                keys, distances = grown(keys, distances)
                            keys[n_hits] = (np.uint64(query_start + q) << np.uint64(32)) | np.uint64(start + row)
                            distances[n_hits] = distance
                            n_hits += 1
    return keys, distances, n_hits


@jit
def spread(query_words, places, number, width, followers, reach, offsets, ids, near):  # type: ignore[no-untyped-def]
    """Put each query into every bucket within reach of its substring: offsets, row numbers and what follows."""
    n = query_words.shape[1]
    n_buckets = len(offsets) - 1
    keys, nears = np.empty(n, np.uint32), np.empty(n, np.uint32)
    _cut(query_words, 0, n, places, number, width, followers, keys, nears)
    offsets[:] = 0
    for i in range(n):
        for m in range(len(reach)):
            offsets[(np.int64(keys[i]) ^ reach[m]) + 1] += 1
    for b in range(n_buckets):
        offsets[b + 1] += offsets[b]
    place = offsets[:-1].copy()
    for i in range(n):
        for m in range(len(reach)):
            bucket = np.int64(keys[i]) ^ reach[m]
            p = place[bucket]
            place[bucket] = p + 1
            ids[p] = i
            near[p] = nears[i]
    near[n * len(reach) :] = 0


@jit
def _looked_up(keys, nears, size, offsets, near, bound, rows):  # type: ignore[no-untyped-def]
    """Write which of the keys may have a neighbour in their bucket to `rows` and return how many.

    Most buckets hold fewer than eight entries and reading on into the next does no harm: no branch to guess wrong.
    """
    found = np.int64(0)
    for i in range(size):
        mine = nears[i]
        begin, end = np.int64(offsets[keys[i]]), np.int64(offsets[keys[i] + np.uint32(1)])
        passing = _few(near, begin, mine, bound)
        begin += 8
        while begin < end:
            passing |= _few(near, begin, mine, bound)
            begin += 8
        rows[found] = i
        found += np.int64(passing != 0)
    return found


@jit
def probe(  # type: ignore[no-untyped-def]
    words, offsets, ids, near, query_words, places, number, width, followers, radius, distinct, start,
    cap, most, counts, keys, distances, n_hits,
):  # fmt: skip
    """Compare each known code with the queries spread into its bucket, in no order of buckets."""
    n_words, n = words.shape
    limit = np.uint64(radius)
    bound = np.uint32(places[number, 3])
    cut_keys, cut_nears, rows = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.int64)
    for block in range(0, n, _BLOCK):
        size = min(_BLOCK, n - block)
        _cut(words, block, size, places, number, width, followers, cut_keys, cut_nears)
        for i in rows[: _looked_up(cut_keys, cut_nears, size, offsets, near, bound, rows)]:
            row = block + i
            for p in range(offsets[cut_keys[i]], offsets[cut_keys[i] + np.uint32(1)]):
                if ones(near[p] ^ cut_nears[i]) > bound:
                    continue
                q = np.int64(ids[p])
                distance = np.uint64(0)
                for word in range(n_words):
                    distance += ones(words[word, row] ^ query_words[word, q])
                if distance > limit or counts[q] > cap or (distinct and start + row == q):
                    continue
                if not _met_first(words[:, row], query_words[:, q], places, number, width, followers):
                    continue
                counts[q] += 1
                if counts[q] > cap or n_hits >= most:
                    continue
                if n_hits == len(keys):
                    keys, distances = grown(keys, distances)
                keys[n_hits] = (np.uint64(q) << np.uint64(32)) | np.uint64(start + row)
                distances[n_hits] = distance
                n_hits += 1
    return keys, distances, n_hits


_i64, _u64, _flag = numba.types.int64, numba.types.uint64, numba.types.boolean
_u32s, _i64s, _u64s = array_type(numba.types.uint32, 1), array_type(_i64, 1), array_type(_u64, 1)
_words, _places = array_type(_u64, 2), array_type(_i64, 2)
_place = (_places, _i64, _i64, _i64)
_sorted_side = (_i64s, _u32s, _u32s)
SIGNATURES: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (sort_rows, (_words, *_place, _u64s, *_sorted_side)),
    (spread, (_words, *_place, _i64s, _u32s, _u32s, _u32s)),
    (probe, (_words, _u32s, _u32s, _u32s, _words, *_place, _i64, _flag, _i64, *FOUND)),
    (
        join_place,
        (_words, *_sorted_side, _words, *_sorted_side, _i64s, *_place, _i64, _flag, _i64, _i64, *FOUND),
    ),
)
