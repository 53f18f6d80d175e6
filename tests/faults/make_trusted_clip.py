"""Write the clip every decoding process is warmed up on: `python tests/faults/make_trusted_clip.py`.

Three synthetic shots, one with black borders and one flat, so that signing it takes each path a real video may take.
"""

from pathlib import Path

import numpy as np

from videonovelty.decode.writer import write_video

HEIGHT, WIDTH, FPS = 144, 192, 10
TARGET = Path(__file__).parents[2] / "videonovelty" / "sandbox" / "trusted_clip.mp4"


def frames():
    """Yield 2.4 s: textured and moving, the same between black borders, flat."""
    random = np.random.default_rng(7)
    blocks = np.kron(random.integers(40, 216, (HEIGHT // 8, WIDTH // 4), np.uint8), np.ones((8, 8), np.uint8))
    for i in range(24):
        shot = i // 8
        grey = np.roll(blocks[::-1] if shot else blocks, 5 * i, axis=1)[:, :WIDTH].copy()
        if shot == 1:
            grey[:24] = grey[-24:] = 16
        if shot == 2:
            grey[:] = 128
        yield np.repeat(grey[:, :, None], 3, axis=2)


if __name__ == "__main__":
    write_video(TARGET, frames(), fps=FPS, gop=8, crf=35)
    print(TARGET, TARGET.stat().st_size, "bytes")
