"""Runs a part's quantised graph and its float graph with dequantised weights, and compares them.

usage: run_onnx.py QUANTIZED.onnx REFERENCE.onnx TOKENS
Both take f32 inputs with a symbolic first dimension. One line an output: name, largest absolute difference, largest value.
"""

import sys

import numpy
import onnxruntime


def main(quantized, reference, tokens):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in (quantized, reference)]
    generator = numpy.random.default_rng(1)
    feed = {
        value.name: generator.standard_normal([tokens if isinstance(dim, str) else dim for dim in value.shape]).astype("f4")
        for value in sessions[0].get_inputs()
    }
    names = [value.name for value in sessions[0].get_outputs()]
    for name, ours, theirs in zip(names, *(session.run(names, feed) for session in sessions)):
        print(name, numpy.abs(ours - theirs).max(), numpy.abs(theirs).max())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
