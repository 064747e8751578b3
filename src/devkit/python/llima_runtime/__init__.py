"""Runs a build of llima-compile with numpy and onnxruntime, part by part: PRE, CACHE, POST of an attention layer,
CONV of a convolution layer.

It reads `sima_files/` and nothing else. Every program is a session of its own, so this is a check and an example, not the
fastest way to run a model.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .archives import unpack

F32 = np.float32


def bf16(bits):
    """uint16 bf16 bits to float32."""
    return (bits.astype(np.uint32) << 16).view(F32)


class Model:
    """A build; `folder` is the output folder or the `sima_files` in it."""

    def __init__(self, folder, threads=0):
        folder = Path(folder)
        self.files = folder / "sima_files" if (folder / "sima_files").is_dir() else folder
        self.devkit = self.files / "devkit"
        self.config = json.loads((self.devkit / "runtime.json").read_text("utf-8"))
        if self.config["format"] != 1:
            raise SystemExit(f"{self.devkit / 'runtime.json'}: expected format 1, found {self.config['format']}")
        self.layers = self.config["layers"]
        self.eos = set(self.config["eosTokenIds"])
        table = self.config["embeddings"]
        self.embeddings = np.load(self.devkit / table["file"], mmap_mode="r")
        self.scales = np.load(self.devkit / table["scales"]) if table["scales"] else None
        self.codes = table.get("codes")
        if self.codes:
            self.block_scales = np.load(self.devkit / self.codes["scales"], mmap_mode="r")
            minimum = self.codes["minimum"]
            self.block_minimum = np.load(self.devkit / minimum, mmap_mode="r") if minimum else None
        self.options = ort.SessionOptions()
        self.options.intra_op_num_threads = threads
        # a thread pool that spins in one session takes the cores from the next
        self.options.add_session_config_entry("session.force_spinning_stop", "1")
        self.sessions = {}
        self.folders = {}

    def embed(self, ids):
        """float32 [tokens x hidden]."""
        table = self.config["embeddings"]
        rows = self.embeddings[np.asarray(ids)]
        if self.codes:
            return self.decoded(np.asarray(ids), rows) * F32(table["multiplier"])
        rows = bf16(rows) if table["dtype"] == "bf16" else rows.astype(F32)
        if self.scales is not None:
            rows = rows * bf16(self.scales[np.asarray(ids)])[:, None]
        return rows * F32(table["multiplier"])

    def decoded(self, ids, rows):
        """Rows of codes: (code - zero) * scale + minimum for each block."""
        if self.codes["bits"] == 4:
            rows = np.stack([rows & 15, rows >> 4], axis=-1).reshape(len(ids), -1)
        cut = (rows.astype(F32) - F32(self.codes["zero"])).reshape(len(ids), -1, self.codes["block"])
        cut = cut * self.block_scales[ids].astype(F32)[:, :, None]
        if self.block_minimum is not None:
            cut = cut + self.block_minimum[ids][:, :, None]
        return cut.reshape(len(ids), -1)[:, : self.config["hidden"]]

    def session(self, part, index, group):
        """The program of a part; where one phase was left out of the build, the other phase's serves both."""
        names = [f"{phase}_{part}_{index}" for phase in (("group", "single") if group else ("single", "group"))]
        name = next((name for name in names if name in self.layers[index]["programs"]), None)
        if name is None:
            raise SystemExit(f"layer {index} cannot run: neither {names[0]} nor {names[1]} was compiled")
        if name not in self.sessions:
            if index not in self.folders:
                self.folders[index] = unpack(self.files / "mpk" / f"layer_{index}.tar.gz")
            path = str(self.folders[index] / f"{name}.onnx")
            self.sessions[name] = ort.InferenceSession(path, self.options, providers=["CPUExecutionProvider"])
        return self.sessions[name]

    def run(self, part, index, group, values):
        """Outputs by name; a program is given those of `values` that it takes."""
        session = self.session(part, index, group)
        feed = {value.name: values[value.name] for value in session.get_inputs()}
        return dict(zip((value.name for value in session.get_outputs()), session.run(None, feed), strict=True))


class Run:
    """One conversation: caches of keys and values [tokens x cacheWidth], filled from the start; states of convolutions."""

    def __init__(self, model, length, prompt):
        """`length`: tokens of prompt and answer together; `prompt`: those known, by which longrope frequencies are chosen."""
        limit = model.config["maxNumTokens"]
        if length > limit:
            raise SystemExit(f"prompt and answer are {length} tokens, the build takes {limit}")
        self.model = model
        self.past = 0
        self.caches, self.states = {}, {}
        for index, layer in enumerate(model.layers):
            if layer["kind"] == "convolution":
                self.states[index] = np.zeros((layer["stateRows"], layer["stateWidth"]), F32)
            else:
                self.caches[index] = tuple(np.zeros((length, layer["cacheWidth"]), F32) for _ in range(2))
        self.ropes = {}
        # with more tokens than this, all positions turn otherwise
        self.reach = limit
        for rope in model.config["ropes"]:
            far = rope.get("long")
            if far is not None and prompt <= far["above"]:
                self.reach = min(self.reach, far["above"])
            chosen = far if far is not None and prompt > far["above"] else rope
            self.ropes[rope["name"]] = (np.array(chosen["inverseFrequencies"], F32), F32(rope["attentionFactor"]))

    def angles(self, positions):
        """cos and sin, [tokens x rotary/2], by the name of the rotary embedding."""
        found = {}
        for name, (frequencies, factor) in self.ropes.items():
            angle = positions.astype(F32)[:, None] * frequencies
            found[name] = {"cos": np.cos(angle) * factor, "sin": np.sin(angle) * factor}
        return found

    def step(self, ids, group, rows):
        """Takes tokens in; gives the last part's `token` or `logits` for these rows, None without rows."""
        model, start, end = self.model, self.past, self.past + len(ids)
        positions = np.arange(start, end)
        distance = positions[:, None] - np.arange(end)
        angles = self.angles(positions)
        hidden = model.embed(ids)
        for index, layer in enumerate(model.layers):
            if layer["kind"] == "convolution":
                # the state takes every token in, so the last layer runs even where no row of it is wanted
                wanted = np.asarray([0] if rows is None else rows, np.int64)
                post = model.run("conv", index, group, {"hidden": hidden, "state": self.states[index], "rows": wanted})
                self.states[index] = post["state_out"]
                hidden = post.get("hidden_out")
                continue
            values = {"hidden": hidden, **angles.get(layer["rope"], {})}
            pre = model.run("pre", index, group, values)
            keys, cached = self.caches[index]
            keys[start:end], cached[start:end] = pre["k"], pre["v"]
            window = layer["window"]
            seen = (distance >= 0) & (distance < (end if window is None else window))
            mask = np.where(seen, F32(0), F32(-np.inf))
            values |= {"q": pre["q"], "K": keys[:end], "V": cached[:end], "mask": mask}
            values |= model.run("cache", index, group, values)
            if index == len(model.layers) - 1:
                if rows is None:
                    break
                values["rows"] = np.asarray(rows, np.int64)
            post = model.run("post", index, group, values)
            hidden = post.get("hidden_out")
        self.past = end
        return None if rows is None else post

    def prefill(self, ids, every=False):
        """Takes the prompt in, group by group; gives the outputs for its last row, or for every row."""
        size = self.model.config["groupSize"]
        found = []
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            rows = list(range(len(part))) if every else [len(part) - 1] if start + size >= len(ids) else None
            found.append(self.step(part, True, rows))
        return found


def token_of(outputs):
    """The most likely token of the last row."""
    return int(outputs["token"][-1]) if "token" in outputs else int(outputs["logits"][-1].argmax())


def generate(model, ids, max_new_tokens, ignore_eos=False):
    """Greedy: yields token ids until the limit or an end token, which is not yielded."""
    length = len(ids) + max_new_tokens
    run = Run(model, length, len(ids))
    if max_new_tokens == 0:
        return
    token = token_of(run.prefill(ids)[-1])
    known = list(ids)
    for count in range(1, max_new_tokens + 1):
        if token in model.eos and not ignore_eos:
            return
        yield token
        known.append(token)
        if count == max_new_tokens:
            return
        if len(known) > run.reach:
            run = Run(model, length, len(known))
            token = token_of(run.prefill(known)[-1])
        else:
            token = token_of(run.step([token], False, [0]))
