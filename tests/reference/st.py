"""The least of safetensors: little-endian u64 header length, JSON header, data. Enough for our own files."""
import json

import numpy as np

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U32": "<u4", "U8": "u1", "BOOL": "?"}
NAMES = {np.dtype(code): name for name, code in TYPES.items()}


def save(path, tensors, metadata=None):
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = {key: str(value) for key, value in metadata.items()}
    for name, x in tensors.items():
        header[name] = {"dtype": NAMES[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for x in tensors.values():
            file.write(np.ascontiguousarray(x).tobytes())


def load(path):
    """{name: read-only array}, mapped rather than read."""
    data = np.memmap(path, np.uint8, "r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + size].tobytes())
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = (8 + size + o for o in entry["data_offsets"])
            out[name] = data[first:last].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return out
