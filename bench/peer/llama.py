"""The shared library of llama.cpp that npm node-llama-cpp brings, through ctypes: no compiler, no bindings, no JavaScript in the measured loop.

Parameter structs are taken from llama.cpp as opaque bytes (by value they are passed in memory, and a longer copy does no harm on x86-64),
so that only the first fields, which have not moved for years, are known here.
"""
import ctypes as c
import os
from pathlib import Path


class Opaque(c.Structure):
    _fields_ = [("bytes", c.c_uint8 * 512)]


class Batch(c.Structure):
    _fields_ = [("n_tokens", c.c_int32)] + [(name, c.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)


@LOG
def silent(level, text, data):
    if level >= 4:
        os.write(2, text)


def load(folder):
    """libllama of a node_modules folder that holds node-llama-cpp."""
    binaries = next(Path(folder).glob("@node-llama-cpp/linux-x64/bins/linux-x64"))

    def library(pattern):
        return c.CDLL(str(next(binaries.glob(pattern))), mode=c.RTLD_GLOBAL)

    library("libggml-base.so*")
    ggml = library("libggml.*so*")
    llama = library("libllama.*so*")
    llama.llama_log_set(silent, None)
    ggml.ggml_backend_load_all_from_path(str(binaries).encode())
    for name, result, *arguments in [
        ("llama_backend_init", None),
        ("llama_model_default_params", Opaque),
        ("llama_context_default_params", Opaque),
        ("llama_model_quantize_default_params", Opaque),
        ("llama_model_load_from_file", c.c_void_p, c.c_char_p, Opaque),
        ("llama_init_from_model", c.c_void_p, c.c_void_p, Opaque),
        ("llama_set_n_threads", None, c.c_void_p, c.c_int32, c.c_int32),
        ("llama_n_threads", c.c_int32, c.c_void_p),
        ("llama_n_ctx", c.c_uint32, c.c_void_p),
        ("llama_model_get_vocab", c.c_void_p, c.c_void_p),
        ("llama_vocab_n_tokens", c.c_int32, c.c_void_p),
        ("llama_batch_get_one", Batch, c.POINTER(c.c_int32), c.c_int32),
        ("llama_decode", c.c_int32, c.c_void_p, Batch),
        ("llama_synchronize", None, c.c_void_p),
        ("llama_get_logits_ith", c.POINTER(c.c_float), c.c_void_p, c.c_int32),
        ("llama_get_memory", c.c_void_p, c.c_void_p),
        ("llama_memory_clear", None, c.c_void_p, c.c_bool),
        ("llama_model_quantize", c.c_uint32, c.c_char_p, c.c_char_p, c.c_void_p),
    ]:
        function = getattr(llama, name)
        function.restype = result
        function.argtypes = arguments
    llama.llama_backend_init()
    return llama


def numbers(parameters):
    """The parameters' first 32-bit fields, to read and to set."""
    return c.cast(c.byref(parameters), c.POINTER(c.c_int32))


def leave_memory():
    """Peak resident bytes into the file that LLIMA_BENCH_RSS names."""
    file = os.environ.get("LLIMA_BENCH_RSS")
    if file:
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        Path(file).write_text(str(int(peak.split()[1]) * 1024))
