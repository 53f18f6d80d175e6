"""The compiled kernels of joins of 64-bit codes: groups that fit the cache, whole codes compared eight at a time.

A *substring* is so many bits of the code from one place on, around the end; codes are turned so that it is their lowest
bits. Both sides are parted by its high bits into groups. A group of known codes is sorted by the low bits while it lies
in the cache, and the queries of every group that differs from it in few enough high bits are looked up in it: known
codes are read from memory once, queries once for each mask of the high bits. Nothing here checks its arguments:
`descriptor_join` does.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from videonovelty.matching.kernels import FOUND, array_type, grown, jit, lanes_within, ones, wide_vectors

PADDING = 8
"""Entries after the last that may be read."""
_any_of_eight = lanes_within(8, 64)


@jit
def part(codes, turn, low_bits, begin, parted, rows):  # type: ignore[no-untyped-def]
    """Turn codes by `turn` bits and part them into len(begin) - 1 groups by the bits from `low_bits` on.

    Writes the turned codes and their row numbers, group after group, and where each group begins. There is one write
    position a group, so that all of them stay in the cache.
    """
    n, n_groups = len(codes), len(begin) - 1
    by, back, low, mask = np.uint64(turn), np.uint64(-turn % 64), np.uint64(low_bits), np.uint64(n_groups - 1)
    begin[:] = 0
    for i in range(n):
        turned = (codes[i] >> by) | (codes[i] << back)
        begin[np.int64((turned >> low) & mask) + 1] += 1
    for group in range(n_groups):
        begin[group + 1] += begin[group]
    place = begin[:-1].copy()
    for i in range(n):
        turned = (codes[i] >> by) | (codes[i] << back)
        mine = np.int64((turned >> low) & mask)
        parted[place[mine]] = turned
        rows[place[mine]] = i
        place[mine] += 1


@jit
def _sort(codes, rows, offsets, sorted_codes, sorted_rows):  # type: ignore[no-untyped-def]
    """Sort one group by the lowest bits; bucket b lies at offsets[b] … offsets[b + 1]."""
    n_buckets = len(offsets) - 1
    mask = np.uint64(n_buckets - 1)
    offsets[:] = 0
    for i in range(len(codes)):
        offsets[np.int64(codes[i] & mask)] += 1
    total = np.int64(0)
    for bucket in range(n_buckets):
        total += offsets[bucket]
        offsets[bucket] = total
    offsets[n_buckets] = total
    for i in range(len(codes) - 1, -1, -1):
        mine = np.int64(codes[i] & mask)
        offsets[mine] -= 1
        sorted_codes[offsets[mine]] = codes[i]
        sorted_rows[offsets[mine]] = rows[i]


@jit
def sort_groups(codes, rows, begin, low_bits, sorted_codes, sorted_rows):  # type: ignore[no-untyped-def]
    """Sort every group by the low bits, so that neighbours in a group look into neighbouring buckets."""
    offsets = np.empty((1 << low_bits) + 1, np.int64)
    for group in range(len(begin) - 1):
        first, last = begin[group], begin[group + 1]
        if first < last:
            _sort(codes[first:last], rows[first:last], offsets, sorted_codes[first:last], sorted_rows[first:last])


@jit
def _met_earlier(differing, turns, number, substring, allowed):  # type: ignore[no-untyped-def]
    """Tell whether a pair whose turned codes differ so was met in an earlier substring: it is returned once."""
    for t in range(number):
        by = np.uint64((turns[t] - turns[number]) % 64)
        turned = (differing >> by) | (differing << np.uint64(-by % 64))
        if ones(turned & substring) <= allowed:
            return True
    return False


@jit
def join_groups(  # type: ignore[no-untyped-def]
    codes, rows, begin, query_codes, query_rows, query_begin, turns, number, width, allowed, masks, low_bits, radius,
    start, query_start, cap, most, counts, keys, distances, n_hits,
):  # fmt: skip
    """Look the queries up in the buckets whose substring differs by one of `masks`, group by group of known codes."""
    wide_vectors()
    limit, most_differing = np.uint64(radius), np.uint64(allowed)
    substring, low_mask = np.uint64((1 << width) - 1), np.uint64((1 << low_bits) - 1)
    largest = np.int64(0)
    for group in range(len(begin) - 1):
        largest = max(largest, begin[group + 1] - begin[group])
    mine, mine_rows = np.zeros(largest + PADDING, np.uint64), np.empty(largest, np.uint32)
    offsets = np.empty((1 << low_bits) + 1, np.int64)
    for group in range(len(begin) - 1):
        low, high = begin[group], begin[group + 1]
        if low == high:
            continue
        _sort(codes[low:high], rows[low:high], offsets, mine, mine_rows)
        for m in range(len(masks)):
            other = group ^ (masks[m] >> low_bits)
            flipped = np.uint64(masks[m]) & low_mask
            for k in range(query_begin[other], query_begin[other + 1]):
                code = query_codes[k]
                bucket = np.int64((code & low_mask) ^ flipped)
                first, last = offsets[bucket], offsets[bucket + 1]
                passing = np.uint64(0)
                j = first
                while j < last:
                    passing |= _any_of_eight(mine, j, code, limit)
                    j += 8
                if passing == 0:
                    continue
                q = query_start + np.int64(query_rows[k])
                if counts[q] > cap:
                    continue
                for j in range(first, last):
                    differing = mine[j] ^ code
                    distance = ones(differing)
                    if distance > limit or _met_earlier(differing, turns, number, substring, most_differing):
                        continue
                    counts[q] += 1
                    if counts[q] > cap or n_hits >= most:
                        break
                    if n_hits == len(keys):
                        keys, distances = grown(keys, distances)
                    keys[n_hits] = (np.uint64(q) << np.uint64(32)) | np.uint64(start + np.int64(mine_rows[j]))
                    distances[n_hits] = distance
                    n_hits += 1
    return keys, distances, n_hits


_i64, _u64 = numba.types.int64, numba.types.uint64
_i64s, _u64s, _u32s = array_type(_i64, 1), array_type(_u64, 1), array_type(numba.types.uint32, 1)
_side = (_u64s, _u32s, _i64s)
SIGNATURES: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (part, (_u64s, _i64, _i64, _i64s, _u64s, _u32s)),
    (sort_groups, (*_side, _i64, _u64s, _u32s)),
    (join_groups, (*_side, *_side, _i64s, _i64, _i64, _i64, _i64s, _i64, _i64, _i64, _i64, *FOUND)),
)
