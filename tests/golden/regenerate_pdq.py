"""Write pdq.json with the reference implementation: `python tests/golden/regenerate_pdq.py` (needs pdqhash 0.2.8)."""

import json
from pathlib import Path

import numpy as np


def pictures() -> np.ndarray:
    """Return luma pictures, shape (12, 64, 64), made of whole numbers from a frozen random stream."""
    stream = np.random.RandomState(11)
    made = []
    for _ in range(12):
        total = np.zeros((64, 64), np.int64)
        for size in (2, 4, 8, 16, 32):
            cells = stream.randint(0, 256, (64 // size, 64 // size))
            total += np.kron(cells, np.ones((size, size), np.int64)) * size
        for _ in range(2):  # soften the blocks: sums of neighbours
            total = (total + np.roll(total, 1, 0) + np.roll(total, 1, 1) + np.roll(total, (1, 1), (0, 1))) // 4
        made.append((total // 62).astype(np.uint8))
    return np.stack(made)


def main() -> None:
    import pdqhash

    rows = []
    for picture in pictures():
        codes, quality = pdqhash.compute_dihedral(np.repeat(picture[:, :, None], 3, axis=2))
        rows.append(
            {"quality": quality, "codes": [np.packbits(np.asarray(c, np.uint8)).tobytes().hex() for c in codes]}
        )
    Path(__file__).with_name("pdq.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
