"""The compiled kernels of `matching.hamming` that compare codes and permute their bits.

Those of the exact join are in `ring_kernels`, those of `descriptor_join` in `word_kernels`.

Codes are uint64 words; a kernel that finds pairs appends them to growing arrays of keys (query << 32 | known) and
distances, at most `most` of them, and counts a query's pairs up to its cap. Nothing here checks its arguments:
`hamming` does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

log = logging.getLogger(__name__)

# Filters: what is compared before all words are. Each never exceeds the distance, so none of them loses a pair.
ONE, OR2, SUM2, OR4, SUM4, SUM8 = 0, 1, 2, 3, 4, 5


def jit(function: Callable[..., Any]) -> Any:
    """Compile lazily, with the disk cache beside the package or in the user's cache folder; without where none can be.

    A shared temporary folder is not used: cached kernels are loaded as code.
    """
    try:
        return numba.njit(cache=True, nogil=True, boundscheck=False)(function)
    except RuntimeError:
        log.info("no writable folder for compiled kernels (NUMBA_CACHE_DIR names one); compiling in every process")
        return numba.njit(nogil=True, boundscheck=False)(function)


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Count the bits of an unsigned word that are set, in its own type (LLVM's ctpop, which it vectorises)."""
    return word(word), lambda _context, builder, _signature, args: builder.ctpop(args[0])


@intrinsic  # type: ignore[untyped-decorator]
def wide_vectors(typing_context: Any) -> Any:  # noqa: ARG001
    """Let LLVM use vectors of 512 bits in the calling function; by itself it stays at 256 on many processors with both.

    A hint: where there are none, nothing changes. llvmlite lists the attributes it knows and this is none of them.
    """

    def mark(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return numba.types.void(), mark


def lanes_within(lanes: int, bits: int = 32) -> Any:
    """Make the kernel that compares a word of 32 or 64 bits with so many entries of an array at once."""

    @intrinsic  # type: ignore[untyped-decorator]
    def passing(typing_context: Any, entries: Any, index: Any, word: Any, bound: Any) -> Any:  # noqa: ARG001
        """Return, as bits of a uint64, which entries from `index` on differ from `word` by at most `bound` bits.

        Written as LLVM vectors, as loops of a few rounds are not turned into them. Every target has these operations.
        """

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.IntType(bits), lanes)

            def splat(value: Any) -> Any:
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                return builder.shuffle_vector(one, one, zeros)

            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            at = builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())
            loaded = builder.load(at, align=bits // 8)
            count = ir.FunctionType(vector, [vector])
            ctpop = builder.module.declare_intrinsic(f"llvm.ctpop.v{lanes}i{bits}", (), count)
            differing = builder.call(ctpop, [builder.xor(loaded, splat(args[2]))])
            passes = builder.icmp_unsigned("<=", differing, splat(args[3]))
            return builder.zext(builder.bitcast(passes, ir.IntType(lanes)), ir.IntType(64))

        kind = numba.types.uint32 if bits == 32 else numba.types.uint64
        return numba.types.uint64(entries, numba.types.int64, kind, kind), build

    return passing


@jit
def grown(keys, distances):  # type: ignore[no-untyped-def]
    more_keys = np.empty(2 * len(keys), np.uint64)
    more_distances = np.empty(2 * len(keys), np.uint8)
    more_keys[: len(keys)] = keys
    more_distances[: len(keys)] = distances
    return more_keys, more_distances


@jit
def _bound(filters, query, j, mode):  # type: ignore[no-untyped-def]
    """Lower bound of the distance of code j from the query, by the words of the filter."""
    if mode == ONE:
        return ones(filters[0, j] ^ query[0])
    if mode == OR2:
        return ones((filters[0, j] ^ query[0]) | (filters[1, j] ^ query[1]))
    if mode == SUM2:
        return ones(filters[0, j] ^ query[0]) + ones(filters[1, j] ^ query[1])
    if mode == OR4:
        return ones((filters[0, j] ^ query[0]) | (filters[1, j] ^ query[1])) + ones(
            (filters[2, j] ^ query[2]) | (filters[3, j] ^ query[3])
        )
    total = np.uint64(0)
    for word in range(4 if mode == SUM4 else 8):
        total += ones(filters[word, j] ^ query[word])
    return total


@jit
def _any_within(filters, start, stop, query, radius, mode):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Tell whether the filter lets any of the codes [start, stop) pass: straight loops, which LLVM vectorises.

    The least of the bounds takes one vector instruction a step, collecting comparisons takes three.
    """
    wide_vectors()
    least = np.uint64(1 << 20)
    n = stop - start
    if mode == OR2:
        a, b = filters[0, start:stop], filters[1, start:stop]
        q0, q1 = query[0], query[1]
        for j in range(n):
            least = min(least, ones((a[j] ^ q0) | (b[j] ^ q1)))
    elif mode == ONE:
        a = filters[0, start:stop]
        q0 = query[0]
        for j in range(n):
            least = min(least, ones(a[j] ^ q0))
    elif mode == SUM2:
        a, b = filters[0, start:stop], filters[1, start:stop]
        q0, q1 = query[0], query[1]
        for j in range(n):
            least = min(least, ones(a[j] ^ q0) + ones(b[j] ^ q1))
    elif mode in (OR4, SUM4):
        a, b, c, d = filters[0, start:stop], filters[1, start:stop], filters[2, start:stop], filters[3, start:stop]
        q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
        if mode == OR4:
            for j in range(n):
                least = min(least, ones((a[j] ^ q0) | (b[j] ^ q1)) + ones((c[j] ^ q2) | (d[j] ^ q3)))
        else:
            for j in range(n):
                least = min(least, ones(a[j] ^ q0) + ones(b[j] ^ q1) + ones(c[j] ^ q2) + ones(d[j] ^ q3))
    else:
        for j in range(start, stop):
            total = np.uint64(0)
            for word in range(8):
                total += ones(filters[word, j] ^ query[word])
            least = min(least, total)
    return least <= radius


@jit
def _line_aligned(rows, columns):  # type: ignore[no-untyped-def]
    """Return an empty uint64 array that begins with a cache line: vectors that straddle two halve the speed."""
    raw = np.empty(rows * columns + 8, np.uint64)
    skipped = ((64 - raw.ctypes.data % 64) % 64) // 8
    return raw[skipped : skipped + rows * columns].reshape(rows, columns)


@jit
def scan_blocks(  # type: ignore[no-untyped-def]
    rows, queries, radius, mode, distinct, cap, most, counts, keys, distances, n_hits
):  # fmt: skip
    """All queries against one block of known codes after the other; a block's filter words stay in the first cache."""
    n_words = rows.shape[1]
    n_filter = 1 if mode == ONE else (2 if mode in (OR2, SUM2) else (4 if mode in (OR4, SUM4) else 8))
    block = 4096 // n_filter  # 32 KiB
    filters = _line_aligned(n_filter, block)
    limit = np.uint64(radius)
    for start in range(0, len(rows), block):
        size = min(block, len(rows) - start)
        for i in range(size):
            for word in range(n_filter):
                filters[word, i] = rows[start + i, word]
        for k in range(len(queries)):
            query = queries[k]
            if counts[k] > cap or not _any_within(filters, 0, size, query, limit, mode):
                continue
            # What let the block pass is looked for in short pieces first.
            place = 0
            while place < size:
                j = place
                if j % 64 == 0 and not _any_within(filters, j, min(j + 64, size), query, limit, mode):
                    place += 64
                    continue
                place += 1
                if _bound(filters, query, j, mode) > limit:
                    continue
                distance = np.uint64(0)
                for word in range(n_words):
                    distance += ones(rows[start + j, word] ^ query[word])
                if distance > limit or (distinct and start + j == k):
                    continue
                counts[k] += 1
                if counts[k] > cap or n_hits >= most:
                    break
                if n_hits == len(keys):
                    keys, distances = grown(keys, distances)
                keys[n_hits] = (np.uint64(k) << np.uint64(32)) | np.uint64(start + j)
                distances[n_hits] = distance
                n_hits += 1
    return keys, distances, n_hits


@jit
def scan_rows(  # type: ignore[no-untyped-def]
    rows, queries, radius, mode, distinct, cap, most, counts, keys, distances, n_hits
):  # fmt: skip
    """A query or two against the rows as they lie: as fast as memory is read."""
    n_words = rows.shape[1]
    limit = np.uint64(radius)
    for k in range(len(queries)):
        q0 = queries[k, 0]
        q1 = queries[k, 1] if n_words > 1 else np.uint64(0)
        for start in range(0, len(rows), 64):
            stop = min(start + 64, len(rows))
            hit = np.uint64(0)
            if mode == OR2:
                for j in range(start, stop):
                    hit |= np.uint64(ones((rows[j, 0] ^ q0) | (rows[j, 1] ^ q1)) <= limit)
            else:
                hit = np.uint64(1)
            if not hit:
                continue
            for j in range(start, stop):
                distance = np.uint64(0)
                for word in range(n_words):
                    distance += ones(rows[j, word] ^ queries[k, word])
                if distance > limit or (distinct and j == k):
                    continue
                counts[k] += 1
                if counts[k] > cap or n_hits >= most:
                    break
                if n_hits == len(keys):
                    keys, distances = grown(keys, distances)
                keys[n_hits] = (np.uint64(k) << np.uint64(32)) | np.uint64(j)
                distances[n_hits] = distance
                n_hits += 1
            if counts[k] > cap:
                break
    return keys, distances, n_hits


@jit
def permute(rows, stages, masks, words):  # type: ignore[no-untyped-def]
    block = 512
    n_words = rows.shape[1]
    part = np.empty((n_words, block), np.uint64)
    for start in range(0, len(rows), block):
        size = min(block, len(rows) - start)
        for i in range(size):
            for word in range(n_words):
                part[word, i] = rows[start + i, word]
        for s in range(len(stages)):
            step = stages[s]
            if step > 0:
                by = np.uint64(step)
                for word in range(n_words):
                    mask = masks[s, word]
                    line = part[word]
                    for i in range(size):
                        swap = ((line[i] >> by) ^ line[i]) & mask
                        line[i] ^= swap ^ (swap << by)
            else:
                for word in range(n_words):
                    other = word ^ (-step)
                    if other > word:
                        mask = masks[s, word]
                        line, partner = part[word], part[other]
                        for i in range(size):
                            swap = (line[i] ^ partner[i]) & mask
                            line[i] ^= swap
                            partner[i] ^= swap
        for word in range(n_words):
            words[word, start : start + size] = part[word, :size]


def array_type(kind: Any, ndim: int, *, read_only: bool = False) -> Any:
    """Type of a C-order array; a read-only, unaligned one also takes memory-mapped codes."""
    return numba.types.Array(kind, ndim, "C", readonly=read_only, aligned=not read_only)


_i64, _u64 = numba.types.int64, numba.types.uint64
_words, _i64s = array_type(_u64, 2), array_type(_i64, 1)
_codes = array_type(_u64, 2, read_only=True)
_flag = numba.types.boolean
FOUND = (_i64, _i64, _i64s, array_type(_u64, 1), array_type(numba.types.uint8, 1), _i64)
SIGNATURES: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (scan_blocks, (_codes, _codes, _i64, _i64, _flag, *FOUND)),
    (scan_rows, (_codes, _codes, _i64, _i64, _flag, *FOUND)),
    (permute, (_codes, _i64s, _words, _words)),
)  # fmt: skip
