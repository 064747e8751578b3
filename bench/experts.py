"""Forms of a mixture of experts in onnxruntime: python bench/experts.py [threads]; needs numpy, onnx, onnxruntime.

64 experts, 8 for a token, hidden 2048, intermediate 1024, random 4-bit weights (MatMulNBits, blocks of 32). Every run has a new input:
with the same one again, its 8 experts are still in the processor's cache, and decode looks several times faster than it is.
The forms take turns, so that they see the same load of the machine, and their results are compared.
"""
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

EXPERTS, CHOSEN, HIDDEN, WIDTH, BLOCK = 64, 8, 2048, 1024, 32
FORMS = ["dense", "sorted", "nonzero"]
random = np.random.RandomState(0)
weights = {"router": (random.randn(HIDDEN, EXPERTS) * 0.05).astype("f")}


def weight(name, rows, columns):
    blocks = columns // BLOCK
    weights[f"{name}.codes"] = random.randint(0, 256, (rows, blocks, BLOCK // 2), dtype=np.uint8)
    weights[f"{name}.scales"] = random.rand(rows * blocks).astype("f") * 0.004 + 0.001


for index in range(EXPERTS):
    weight(f"gate{index}", WIDTH, HIDDEN)
    weight(f"up{index}", WIDTH, HIDDEN)
    weight(f"down{index}", HIDDEN, WIDTH)


def model(form):
    nodes, constants = [], {}

    def op(kind, inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(nodes)}_{at}" for at in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(value, dtype="i8"):
        name = f"c{len(constants)}"
        constants[name] = np.array(value, dtype=dtype)
        return name

    def linear(x, name, rows, columns):
        options = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
        return op("MatMulNBits", [x, f"{name}.codes", f"{name}.scales"], domain="com.microsoft", **options)

    def expert(at, x):
        gate, up = linear(x, f"gate{at}", WIDTH, HIDDEN), linear(x, f"up{at}", WIDTH, HIDDEN)
        return linear(op("Mul", [op("Mul", [gate, op("Sigmoid", [gate])]), up]), f"down{at}", HIDDEN, WIDTH)

    def ascending(x):
        return op("TopK", [x, op("Shape", [x])], 2, axis=0, largest=0)[1]

    scores = op("Softmax", [op("MatMul", ["x", "router"])], axis=-1)
    shares, chosen = op("TopK", [scores, constant([CHOSEN])], 2, axis=-1)
    if form == "sorted":
        pairs = op("Reshape", [chosen, constant([-1])])
        order = ascending(pairs)
        marks = op("OneHot", [pairs, constant(EXPERTS), constant([0, 1])])
        counts = op("ReduceSum", [marks, constant([0])], keepdims=0)
        rows = op("Gather", ["x", op("Div", [order, constant([CHOSEN])])])
        stretches = op("Split", [rows, counts], EXPERTS, axis=0)
        made = op("Concat", [expert(at, stretches[at]) for at in range(EXPERTS)], axis=0)
        places = op("Reshape", [ascending(order), constant([-1, CHOSEN])])
        total = op("MatMul", [op("Unsqueeze", [shares, constant([1])]), op("Gather", [made, places])])
        last = op("Squeeze", [total, constant([1])])
    else:
        spread = op("ScatterElements", [op("Sub", [scores, scores]), chosen, shares], axis=1)
        columns = op("Split", [spread], EXPERTS, axis=1, num_outputs=EXPERTS)
        last = op("Sub", ["x", "x"])
        for at in range(EXPERTS):
            if form == "dense":
                last = op("Add", [last, op("Mul", [expert(at, "x"), columns[at]])])
                continue
            hit = op("Greater", [columns[at], constant(0, "f4")])
            rows = op("Gather", [op("NonZero", [hit]), constant(0)], axis=0)
            part = op("Mul", [expert(at, op("Gather", ["x", rows])), op("Gather", [columns[at], rows])])
            last = op("ScatterND", [last, op("Unsqueeze", [rows, constant([1])]), part], reduction="add")
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    tensors = []
    for name, value in {**constants, **weights}.items():
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensors.append(helper.make_tensor(name, dtype, value.shape, value.tobytes(), raw=True))
    side = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", HIDDEN]) for name in "xy"}
    graph = helper.make_graph(nodes, form, [side["x"]], [side["y"]], tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
sessions = {form: onnxruntime.InferenceSession(model(form), options) for form in FORMS}
for tokens, runs in [(1, 64), (16, 10), (128, 7)]:
    times = {form: [] for form in FORMS}
    for run in range(runs):
        x = np.random.RandomState(1000 * tokens + run).randn(tokens, HIDDEN).astype("f")
        found = {}
        for at in range(len(FORMS)):
            form = FORMS[(at + run) % len(FORMS)]
            start = time.perf_counter()
            found[form] = sessions[form].run(None, {"x": x})[0]
            times[form].append((time.perf_counter() - start) * 1e3)
        for form in FORMS:
            worst = np.abs(found[form] - found["dense"]).max()
            assert worst < 1e-5 * np.abs(found["dense"]).max(), (form, worst)
    for form in FORMS:
        low, middle, high = np.percentile(times[form], [0, 50, 90])
        print(f"{form:8} {tokens:4} tokens: least {low:8.1f}, median {middle:8.1f}, 9 of 10 under {high:8.1f} ms", flush=True)
