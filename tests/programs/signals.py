"""Signals and images: filters, transforms, resampling, edges."""

import math

import numpy as np

from .program import Program, arguments, normal, uniform

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=np.int8)


def fir_filter(signal, taps):
    """Causal FIR filter, a sum of shifted slices."""
    out = np.zeros_like(signal)
    for k in range(len(taps)):
        out[k:] += taps[k] * signal[: len(signal) - k]
    return out


def fir_args(rng, dtype):
    return arguments(normal(rng, dtype, 101), normal(rng, dtype, 9))


def fft_low_pass(signal, cutoff):
    """Zero the frequencies from `cutoff` on."""
    spectrum = np.fft.rfft(signal)
    spectrum[cutoff:] = 0
    smooth = np.fft.irfft(spectrum, n=signal.shape[0])
    return smooth.astype(signal.dtype), np.abs(spectrum[:cutoff])


def fft_args(rng, dtype):
    return arguments(normal(rng, dtype, 96), 12)


def median_filter(image, size=3):
    """Median over square windows, by sorting them."""
    pad = size // 2
    padded = np.pad(image, pad, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    ordered = np.sort(windows.reshape(*image.shape, size * size), axis=-1)
    return ordered[..., size * size // 2]


def median_args(rng, dtype):
    return arguments(normal(rng, dtype, 9, 12))


def moving_average(x, n):
    """Running mean by differences of a cumulative sum."""
    total = np.cumsum(x)
    total[n:] = total[n:] - total[:-n]
    return total[n - 1 :] / n


def moving_average_args(rng, dtype):
    return arguments(uniform(rng, dtype, 80), 7)


def sobel_threshold(image, level=0.5):
    """Gradient magnitude by slices, its mask, and the fraction of edges."""
    gx = image[:, 2:] - image[:, :-2]
    gx = gx[:-2] + 2 * gx[1:-1] + gx[2:]
    gy = image[2:] - image[:-2]
    gy = gy[:, :-2] + 2 * gy[:, 1:-1] + gy[:, 2:]
    magnitude = np.hypot(gx, gy)
    magnitude /= magnitude.max()
    edges = magnitude > level
    return magnitude, edges, edges.mean()


def image_args(rng, dtype):
    return arguments(uniform(rng, dtype, 14, 11))


def sobel_captured_kernel(image):
    """Correlation with a kernel that lives in a module global."""
    out = np.zeros((image.shape[0] - 2, image.shape[1] - 2), image.dtype)
    rows, cols = out.shape
    for i in range(3):
        for j in range(3):
            out += SOBEL[i, j] * image[i : i + rows, j : j + cols]
    return np.abs(out)


def bilinear_resize(image, height, width):
    """Resize an HWC image by gathers with integer indices."""
    h, w, _ = image.shape
    y = np.arange(height, dtype=image.dtype) * ((h - 1) / (height - 1))
    x = np.arange(width, dtype=image.dtype) * ((w - 1) / (width - 1))
    y0 = np.minimum(np.floor(y).astype(np.intp), h - 2)
    x0 = np.minimum(np.floor(x).astype(np.intp), w - 2)
    fy = (y - y0.astype(image.dtype))[:, None, None]
    fx = (x - x0.astype(image.dtype))[None, :, None]
    top, bottom = np.take(image, y0, axis=0), np.take(image, y0 + 1, axis=0)
    rows = top * (1 - fy) + bottom * fy
    return rows[:, x0] * (1 - fx) + rows[:, x0 + 1] * fx


def bilinear_args(rng, dtype):
    return arguments(uniform(rng, dtype, 7, 9, 3), 12, 16)


def warp_affine(image, matrix):
    """Nearest-neighbour warp: integer gathers at computed coordinates."""
    h, w = image.shape
    yy, xx = np.mgrid[0:h, 0:w]
    coords = np.stack([yy.ravel(), xx.ravel(), np.ones(h * w, dtype=yy.dtype)])
    source = np.rint(matrix @ coords.astype(matrix.dtype)).astype(np.int64)
    inside = (source >= 0).all(axis=0) & (source[0] < h) & (source[1] < w)
    sy, sx = np.clip(source[0], 0, h - 1), np.clip(source[1], 0, w - 1)
    return np.where(inside, image[sy, sx], 0).reshape(h, w)


def warp_args(rng, dtype):
    matrix = np.array([[0.93, 0.21, -0.37], [-0.19, 1.07, 0.83]], dtype)
    return arguments(uniform(rng, dtype, 8, 10), matrix)


def haar_in_place(x):
    """In-place Haar wavelet transform along the first axis."""
    n = x.shape[0]
    root = math.sqrt(0.5)
    while n > 1:
        even, odd = x[:n:2].copy(), x[1:n:2].copy()
        x[: n // 2] = (even + odd) * root
        x[n // 2 : n] = (even - odd) * root
        n //= 2
    return x


def haar_args(rng, dtype):
    return arguments(normal(rng, dtype, 32, 3))


def spectral_peak(signal, rate):
    """Windowed power spectrum in decibels and its strongest frequency."""
    n = signal.shape[-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    power = np.abs(np.fft.rfft(signal * window.astype(signal.dtype))) ** 2
    decibels = 10 * np.log10(power + 1e-3)
    return decibels, power.argmax(axis=-1) * (rate / n)


def spectral_args(rng, dtype):
    t = np.arange(128) / 128
    tones = np.sin(2 * np.pi * np.array([[10], [23], [37]]) * t)
    return arguments(tones.astype(dtype) + normal(rng, dtype, 3, 128) / 10, 128.0)


def dct_compress(blocks, keep):
    """8x8 block cosine transform; high frequencies dropped; and back."""
    k = np.arange(8)
    basis = np.cos(np.pi / 8 * (k[None, :] + 0.5) * k[:, None]) * 0.5
    basis[0] *= math.sqrt(0.5)
    basis = basis.astype(blocks.dtype)
    coefficients = basis @ blocks @ basis.T
    coefficients[:, np.add.outer(k, k) >= keep] = 0
    return basis.T @ coefficients @ basis


def dct_args(rng, dtype):
    return arguments(uniform(rng, dtype, 4, 8, 8), 6)


PROGRAMS = (
    Program("fir_filter", fir_filter, fir_args),
    Program("fft_low_pass", fft_low_pass, fft_args),
    Program("median_filter", median_filter, median_args),
    Program("moving_average", moving_average, moving_average_args),
    Program("sobel_threshold", sobel_threshold, image_args),
    Program("sobel_captured_kernel", sobel_captured_kernel, image_args),
    Program("bilinear_resize", bilinear_resize, bilinear_args),
    Program("warp_affine", warp_affine, warp_args),
    Program("haar_in_place", haar_in_place, haar_args),
    Program("spectral_peak", spectral_peak, spectral_args),
    Program("dct_compress", dct_compress, dct_args),
)
