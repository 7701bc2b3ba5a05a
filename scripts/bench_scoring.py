"""The plain scorer that benches/scoring.rs measures itself against: cv2 and numpy, one process, KAIR's definitions.

bench_scoring.py HR_DIR SR_DIR -> one JSON document: milliseconds (wall, processor) for the whole set and for one pair.
"""

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

cv2.setNumThreads(1)

BORDER = 4


def read(path):
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def crop(image):
    return image[BORDER:-BORDER, BORDER:-BORDER]


def psnr(a, b):
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 20 * np.log10(255.0 / np.sqrt(mse))


def ssim_channel(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    kernel = cv2.getGaussianKernel(11, 1.5)
    window = np.outer(kernel, kernel.T)

    def blur(x):
        return cv2.filter2D(x, -1, window)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def ssim(a, b):
    return np.mean([ssim_channel(a[..., c], b[..., c]) for c in range(3)])


def timed(run, times=3):
    """Medians of wall clock and of processor time, milliseconds, and the last result."""
    wall, cpu = [], []
    for _ in range(times):
        start, cpu_start = time.perf_counter(), time.process_time()
        out = run()
        wall.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - cpu_start) * 1e3)
    return [sorted(wall)[times // 2], sorted(cpu)[times // 2]], out


def main():
    hr_dir, sr_dir = map(Path, sys.argv[1:])
    pairs = [(sr_dir / f"{hr.stem}x4.png", hr) for hr in sorted(hr_dir.glob("*.png"))]

    def each(score):
        return [score(crop(read(sr)), crop(read(hr))) for sr, hr in pairs]

    decode_ms, _ = timed(lambda: each(lambda a, b: None))
    psnr_ms, psnrs = timed(lambda: each(psnr))
    ssim_ms, ssims = timed(lambda: each(lambda a, b: (psnr(a, b), ssim(a, b))), times=1)
    a, b = (crop(read(path)) for path in pairs[0])
    document = {
        "decode_ms": decode_ms,
        "psnr_ms": psnr_ms,
        "ssim_ms": ssim_ms,
        "pair_psnr_ms": timed(lambda: psnr(a, b))[0],
        "pair_ssim_ms": timed(lambda: (psnr(a, b), ssim(a, b)))[0],
        "psnr": np.mean(psnrs),
        "ssim": np.mean([s for _, s in ssims]),
    }
    print(json.dumps(document))


main()
