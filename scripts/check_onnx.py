"""Checks .onnx files with onnx's own checker and by loading them in onnxruntime.

usage: check_onnx.py FILE...
One line a file: `ok FILE` or `FAIL FILE: reason`. Exit 1 when one failed, 2 when none was given.
"""

import sys

import onnx
import onnxruntime


def fault(path):
    """What is wrong with a model file, on one line; None when nothing is."""
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        return f"onnx.checker: {' '.join(str(error).split())}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    options.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return f"onnxruntime: {' '.join(str(error).split())}"
    return None


def main(paths):
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    faults = {path: fault(path) for path in paths}
    for path, found in faults.items():
        print(f"ok {path}" if found is None else f"FAIL {path}: {found}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
