"""llama.cpp's mean KL on the evaluation text, by the formula of bench/quality.mjs: python divergence.py NODE_MODULES MODEL.gguf FIXTURE

FIXTURE is test/fixtures/smollm2. Token by token, in llama.cpp's default arithmetic (activations rounded to 8 bits in blocks of 32).
"""
import ctypes
import json
import sys
from pathlib import Path

import numpy as np

from llama import load, numbers

folder, path, fixture = sys.argv[1:]
fixture = Path(fixture)
documents = json.loads((fixture / "eval_text.json").read_text())["documents"]
top = np.load(fixture / "eval_top64_ids.npy")
logp = np.load(fixture / "eval_top64_logp.npy").astype(float)
rest = np.load(fixture / "eval_rest_logp.npy").astype(float)
llama = load(folder)
model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
if not model:
    sys.exit(f"{path} was not loaded")
parameters = llama.llama_context_default_params()
numbers(parameters)[0] = 1024
session = llama.llama_init_from_model(model, parameters)
llama.llama_set_n_threads(session, 2, 2)
vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def step(token):
    array = (ctypes.c_int32 * 1)(token)
    if llama.llama_decode(session, llama.llama_batch_get_one(array, 1)) != 0:
        sys.exit("llama_decode failed")
    return np.ctypeslib.as_array(llama.llama_get_logits_ith(session, -1), (vocabulary,)).astype(float)


found = []
for w, document in enumerate(documents):
    llama.llama_memory_clear(llama.llama_get_memory(session), True)
    for t, token in enumerate(document["ids"][:-1]):
        logits = step(token)
        q = logits[top[w, t]] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        outside = np.log(max(1 - np.exp(q).sum(), 1e-12))
        found.append((np.exp(logp[w, t]) * (logp[w, t] - q)).sum() + np.exp(rest[w, t]) * (rest[w, t] - outside))
print(json.dumps({"kl": float(np.mean(found)), "positions": len(found)}))
