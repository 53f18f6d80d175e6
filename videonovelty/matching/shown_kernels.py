"""The compiled kernels of `matching.shown` and `matching.region`: known cells looked up in a query's picture.

Nothing here checks its arguments: the callers do.
"""

from __future__ import annotations

import numpy as np

from videonovelty.matching.kernels import jit

SAMPLES = 8
"""Points along a known cell's side at which the query is looked up."""
MIN_VISIBLE_SHARE = 0.55
"""A known cell of which the query shows less than this is left out."""
MIN_VISIBLE_CELLS = 4
MOST_LEVELS = 6.0
"""Larger changes, in grey levels, count no more when a placement is moved."""


@jit
def looked_up(grid, box, back, shift, mirrored, width, height, rows, columns):  # type: ignore[no-untyped-def]
    """Return in which of the query's cells each point of the known picture lies, −1 where in none.

    Shape (grid × SAMPLES, grid × SAMPLES), down and across. `box` are left, top, right and bottom of the known picture,
    `back` and `shift` lead from its positions to the query's, whose picture is `width` × `height` and has `rows` ×
    `columns` cells.
    """
    points = grid * SAMPLES
    found = np.empty((points, points), np.int64)
    left, top, right, bottom = box
    for down in range(points):
        y = top + (down + 0.5) / points * (bottom - top) - shift[1]
        for across in range(points):
            x = left + (across + 0.5) / points * (right - left) - shift[0]
            query_x, query_y = back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y
            if mirrored:
                query_x = -query_x
            column, row = int(np.floor(query_x / width * columns)), int(np.floor(query_y / height * rows))
            there = 0 <= column < columns and 0 <= row < rows
            found[down, across] = row * columns + column if there else -1
    return found


@jit
def counted(places, grid, cells):  # type: ignore[no-untyped-def]
    """Return how many points of each known cell lie in each of the query's `cells`, shape (grid², cells)."""
    weight = np.zeros((grid * grid, cells))
    for down in range(len(places)):
        for across in range(len(places)):
            if places[down, across] >= 0:
                weight[down // SAMPLES * grid + across // SAMPLES, places[down, across]] += 1.0
    return weight


@jit
def agreement(places, grid, changes, known):  # type: ignore[no-untyped-def]
    """Return how well the changes of both sides agree in the known cells that are seen, −1 … 1.

    `places` are those of `looked_up`; `changes`, shape (query's cells, t), are the query's in grey levels, `known`,
    shape (grid², t), those of the known cells.
    """
    ticks = changes.shape[1]
    total = np.empty(ticks)
    both = ours = theirs = 0.0
    visible = 0
    for cell in range(grid * grid):
        total[:] = 0.0
        seen = 0
        first_row, first_column = cell // grid * SAMPLES, cell % grid * SAMPLES
        for down in range(first_row, first_row + SAMPLES):
            across, end = first_column, first_column + SAMPLES
            while across < end:
                # points side by side are mostly of one cell of the query
                place, alike = places[down, across], 1
                while across + alike < end and places[down, across + alike] == place:
                    alike += 1
                across += alike
                if place >= 0:
                    seen += alike
                    for tick in range(ticks):
                        total[tick] += alike * changes[place, tick]
        if seen < MIN_VISIBLE_SHARE * SAMPLES**2:
            continue
        visible += 1
        for tick in range(ticks):
            one = min(max(total[tick] / (seen * MOST_LEVELS), -1.0), 1.0)
            other = known[cell, tick]
            both += one * other
            ours += one * one
            theirs += other * other
    if visible < MIN_VISIBLE_CELLS:
        return -1.0
    return both / max(1e-6, np.sqrt(ours * theirs))
