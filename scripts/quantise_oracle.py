"""Writes golden data of our quantisation rule, in numpy, independent of the TypeScript and the WebAssembly.

usage: quantise_oracle.py OUT        (numpy, ml_dtypes)
One safetensors file a case and number format: `weight` [N, K] and the results of the three kernels,
  int4.codes u8 [N, padded / 2], int4.scales u16 (f16 bits) [N, padded / 32], int8.codes u8 [N, padded], int8.scales,
  rows.codes i8 [N, K], rows.scales u16 (bf16 bits) [N];
index.json holds what a kernel has to report of each. Rule: design section 9; all arithmetic float32, rint = half to even.
"""

import json
import os
import sys

import ml_dtypes
import numpy as np

F32 = np.float32
FORMATS = {"bf16": (ml_dtypes.bfloat16, "BF16"), "f16": (np.float16, "F16"), "f32": (np.float32, "F32")}
NAMES = {np.dtype(np.uint8): "U8", np.dtype(np.int8): "I8", np.dtype(np.uint16): "U16"}


def padded_blocks(w):
    rows, columns = w.shape
    padded = -(-columns // 32) * 32
    return np.concatenate([w, np.zeros((rows, padded - columns), F32)], 1).reshape(rows, padded // 32, 32)


def codes_of(blocks, scales16, zero, top):
    scale = scales16.astype(F32)[..., None]
    usable = np.isfinite(scale) & (scale != 0)
    steps = np.where(usable, np.rint(blocks / np.where(usable, scale, F32(1))), F32(0))
    return np.clip(steps + zero, 0, top).astype(np.uint8)


def report(blocks, scales16):
    magnitude = np.abs(scales16.astype(F32)).reshape(-1)
    used = np.abs(blocks).max(-1).reshape(-1) != 0
    under = np.flatnonzero(used & (magnitude < F32(2.0**-14)))
    over = np.flatnonzero(np.isinf(magnitude))
    count = lambda found: {"count": len(found), "first": int(found[0]) if len(found) else None}
    return {"underflow": count(under), "overflow": count(over)}


def int4(w):
    blocks = padded_blocks(w)
    at = np.abs(blocks).argmax(-1)  # numpy: the first of equal ones
    largest = np.take_along_axis(blocks, at[..., None], -1)[..., 0]
    scales = (largest / F32(-8)).astype(np.float16)
    scales = np.where(scales == 0, np.float16(0), scales)
    codes = codes_of(blocks, scales, 8, 15).reshape(len(w), -1)
    return codes[:, 0::2] | (codes[:, 1::2] << 4), scales, report(blocks, scales)


def int8(w):
    blocks = padded_blocks(w)
    scales = (np.abs(blocks).max(-1) / F32(127)).astype(np.float16)
    return codes_of(blocks, scales, 128, 255).reshape(len(w), -1), scales, report(blocks, scales)


def by_row(w):
    scales = (np.abs(w).max(1) / F32(127)).astype(ml_dtypes.bfloat16)
    scale = scales.astype(F32)[:, None]
    steps = np.where(scale != 0, np.rint(w / np.where(scale != 0, scale, F32(1))), F32(0))
    return np.clip(steps, -128, 127).astype(np.int8), scales


def cases(kind, dtype):
    """Weights of a kind, as numbers of the format."""
    generator = np.random.default_rng(sum(map(ord, kind + dtype)))
    normal = lambda *shape: generator.standard_normal(shape).astype(F32) * F32(0.02)
    if kind == "normal":
        w = normal(6, 256)
    elif kind == "ragged":
        w = normal(5, 80)
    elif kind == "narrow":
        w = normal(7, 5)
    elif kind == "odd":
        w = normal(3, 161)
    elif kind == "mirror":  # the largest magnitude with both signs, either first
        w = normal(8, 128)
        for block in w.reshape(-1, 32):
            a, b = generator.permutation(32)[:2]
            block[a], block[b] = F32(0.125), F32(-0.125)
    elif kind == "ties":  # exact ties of both widths
        steps = generator.integers(-16, 15, (8, 128)).astype(F32) / 2
        steps[:, ::32] = -8
        halves = generator.integers(-253, 254, (8, 128)).astype(F32) / 2
        halves[:, ::32] = 127
        w = np.concatenate([steps * F32(2.0**-9), halves * F32(2.0**-12)])
    elif kind == "zeros":
        w = normal(4, 96)
        w[1] = 0
        w[2, 32:64] = 0
        w[3, 64:] = -0.0
    elif kind == "small":  # around the smallest f16 scales, and below
        w = normal(16, 64) * (F32(2) ** -generator.integers(8, 24, (16, 1)).astype(F32))
    elif kind == "spread":  # every exponent that the format and its scales share
        low = -30 if dtype == "f16" else -40
        w = np.ldexp(generator.uniform(-1, 1, (16, 96)), generator.integers(low, 15, (16, 96))).astype(F32)
    elif kind == "large":
        w = normal(4, 64)
        w[1, 3], w[2, 40] = F32(60000), F32(-65000)
        if dtype != "f16":
            w[3, 10], w[3, 33] = F32(3e6), F32(-9e6)
            w[0, 63] = F32(1e38)
    elif kind == "subnormal":  # numbers, then row scales, whose reciprocals overflow
        w = normal(4, 64) * F32(2.0**-126 if dtype != "f16" else 2.0**-18)
        w *= F32(256 if dtype != "f16" else 2) ** np.arange(4, dtype=F32)[:, None]
    return w.astype(FORMATS[dtype][0])


def write(path, tensors):
    header, at, parts = {}, 0, []
    for name, (kind, array) in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


KINDS = ["normal", "ragged", "narrow", "odd", "mirror", "ties", "zeros", "small", "spread", "large", "subnormal"]


def main(out):
    os.makedirs(out, exist_ok=True)
    index = []
    for kind in KINDS:
        for dtype, (_, name) in FORMATS.items():
            stored = cases(kind, dtype)
            w = stored.astype(F32)
            with np.errstate(over="ignore"):
                codes4, scales4, seen4 = int4(w)
                codes8, scales8, seen8 = int8(w)
                codes_row, scales_row = by_row(w)
            file = f"{kind}-{dtype}.safetensors"
            results = {
                "int4.codes": codes4, "int4.scales": scales4.view(np.uint16),
                "int8.codes": codes8, "int8.scales": scales8.view(np.uint16),
                "rows.codes": codes_row, "rows.scales": scales_row.view(np.uint16),
            }
            write(os.path.join(out, file), {"weight": (name, stored), **{k: (NAMES[v.dtype], v) for k, v in results.items()}})
            index.append({
                "name": f"{kind}-{dtype}", "file": file, "dtype": dtype, "shape": list(w.shape),
                "largest": float(np.abs(w).max()), "int4": seen4, "int8": seen8,
            })
    with open(os.path.join(out, "index.json"), "w") as file:
        json.dump(index, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
