"""A small ND2 file of format 2, whose metadata are XML: only microscopes write the format."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x0ABECEDA
ALIGNED = 4096
_TYPES = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}


def write_nd2(path: Path, data: np.ndarray, *, step_um: float, z_um: float) -> Path:
    """A stack (z, channel, y, x) uint16."""
    depth, channels, height, width = data.shape
    attributes = {
        "uiWidth": width, "uiWidthBytes": width * channels * 2, "uiHeight": height,
        "uiComp": channels, "uiBpcInMemory": 16, "uiBpcSignificant": 16,
        "uiSequenceCount": depth, "eCompression": 2,
    }  # fmt: skip
    probe = {"m_sName": "none"}
    planes = {
        f"a{i}": {"uiSampleIndex": i, "sDescription": f"c{i}", "pFluorescentProbe": probe}
        for i in range(channels)
    }
    metadata = {
        "bCalibrated": True, "dCalibration": step_um,
        "sPicturePlanes": {"uiCount": channels, "sPlane": planes},
    }  # fmt: skip
    loop = {"uiCount": depth, "dZStep": z_um, "dZLow": 0.0, "dZHigh": z_um * (depth - 1)}
    chunks = {
        "ImageAttributes!": _xml("SLxImageAttributes", attributes),
        "ImageMetadata!": _xml("SLxExperiment", {"eType": 4, "uLoopPars": loop}),
        "ImageMetadataSeq|0!": _xml("SLxPictureMetadata", metadata),
    }
    for z in range(depth):
        frame = data[z].transpose(1, 2, 0).astype("<u2").tobytes()
        chunks[f"ImageDataSeq|{z}!"] = struct.pack("<d", float(z)) + frame
    with path.open("wb") as file:
        signature = b"ND2 FILE SIGNATURE CHUNK NAME01!"
        file.write(struct.pack("<IIQ32s64s", MAGIC, 32, 64, signature, b"Ver2.1"))
        places = {}
        for name, content in chunks.items():
            file.seek(-(-file.tell() // ALIGNED) * ALIGNED)
            places[name] = (file.tell(), len(content))
            _chunk(file, name.encode().ljust(ALIGNED - 24, b"\0"), content)
        start = file.tell()
        listed = b"".join(n.encode() + struct.pack("<QQ", *place) for n, place in places.items())
        end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", start)
        _chunk(file, b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + end)
    return path


def _chunk(file: Any, name: bytes, content: bytes) -> None:
    file.write(struct.pack("<IIQ", MAGIC, len(name), len(content)) + name + content)


def _xml(name: str, values: dict[str, Any]) -> bytes:
    return f"<variant><{name}>{_children(values)}</{name}></variant>".encode()


def _children(values: dict[str, Any]) -> str:
    return "".join(
        f"<{name}>{_children(value)}</{name}>"
        if isinstance(value, dict)
        else f'<{name} runtype="{_TYPES[type(value)]}" value="{value}"/>'
        for name, value in values.items()
    )
