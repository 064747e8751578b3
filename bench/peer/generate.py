"""llama.cpp's speeds: python generate.py NODE_MODULES MODEL.gguf IDS.json NEW_TOKENS THREADS CONTEXT → one JSON object, greedy.

One short warm-up pass first, as its own llama-bench has; then the prompt in one batch, then token by token.
"""
import ctypes
import json
import sys
import time

import numpy as np

from llama import leave_memory, load, numbers

folder, path, ids, wanted, threads, context = sys.argv[1:]
with open(ids) as stream:
    ids = json.load(stream)
wanted, threads, context = int(wanted), int(threads), int(context)
llama = load(folder)
begun = time.perf_counter()
model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
if not model:
    sys.exit(f"{path} was not loaded")
parameters = llama.llama_context_default_params()
if list(numbers(parameters)[0:3]) != [512, 2048, 512]:
    sys.exit("llama_context_params begins otherwise than expected")
numbers(parameters)[0] = context
session = llama.llama_init_from_model(model, parameters)
llama.llama_set_n_threads(session, threads, threads)
loaded = time.perf_counter()
vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def step(tokens):
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    if llama.llama_decode(session, llama.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama_decode failed")
    return int(np.argmax(np.ctypeslib.as_array(llama.llama_get_logits_ith(session, -1), (vocabulary,))))


step(ids[:2])
llama.llama_memory_clear(llama.llama_get_memory(session), True)
start = time.perf_counter()
token = step(ids)
filled = time.perf_counter()
answer = [token]
while len(answer) < wanted:
    token = step([token])
    answer.append(token)
end = time.perf_counter()
leave_memory()
print(json.dumps({
    "ids": answer,
    "timings": {
        "loadSeconds": loaded - begun,
        "promptTokensPerSecond": len(ids) / (filled - start),
        "decodeTokensPerSecond": (wanted - 1) / (end - filled),
    },
    "threads": llama.llama_n_threads(session),
    "context": llama.llama_n_ctx(session),
}))
