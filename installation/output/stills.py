"""Pictures as PNG files: snapshots, and the last good picture from one run to the next.

A file is complete or is not there: it is written beside its place and moved. Pixels are stored as they are, tagged
sRGB. Any process; imageio is imported with the first file.
"""

import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from installation.errors import OutputError, unwritable
from installation.files import write_whole

_MAX_SIDE = 16384
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES_BYTES = 1 << 20


def snapshot_name(now: float) -> str:
    """File name for a snapshot taken at `now` (s since 1970, local time), to the millisecond, free of colons."""
    millis = int(now * 1000.0)
    return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(millis // 1000)) + f"-{millis % 1000:03d}.png"


def save(path: Path, frame: np.ndarray, *, notes: Mapping[str, str] | None = None) -> None:
    """Writes a Frame as 8-bit RGB PNG. notes: text chunks (Latin-1 keys such as "Seed").

    OutputError when the folder or the disk refuses; a file already there then stays as it was.
    """
    import imageio.v3 as iio
    from PIL.PngImagePlugin import PngInfo

    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 4:
        raise ValueError(f"a Frame is uint8 [H, W, 4], not {frame.dtype} {list(frame.shape)}")
    info = PngInfo()
    info.add(b"sRGB", b"\0")  # rendering intent: perceptual
    for key, text in (notes or {}).items():
        info.add_text(key, text)
    data = iio.imwrite("<bytes>", np.ascontiguousarray(frame[..., :3]), extension=".png", pnginfo=info)
    try:
        write_whole(path, data)
    except OSError as error:
        raise unwritable(error, path) from error


def note(path: Path, key: str) -> str | None:
    """The text that `save` put under the key; None where the file has none. Looks no farther than to the pixels, and 1 MiB.

    OutputError when it cannot be read, is no PNG, or the text is damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_NOTES_BYTES)
    except OSError as error:
        raise OutputError(f"cannot read the picture: {error.strerror or error}", where=str(path)) from error
    if not data.startswith(_SIGNATURE):
        raise OutputError("not a PNG file", where=str(path))
    at, wanted = len(_SIGNATURE), key.encode("latin-1") + b"\0"
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            break
        if kind == b"tEXt" and data.startswith(wanted, at + 8):
            body = data[at + 4 : at + 8 + size]
            if data[at + 8 + size : at + 12 + size] != struct.pack(">I", zlib.crc32(body)):
                raise OutputError(
                    f"its text {key!r} is damaged or larger than {_NOTES_BYTES >> 10} KiB", where=str(path)
                )
            return body[4 + len(wanted) :].decode("latin-1")
        at += 12 + size
    return None


def load(path: Path) -> np.ndarray:
    """A picture file as Frame. OutputError when it is missing, unreadable, no picture, or beyond 16,384 px a side."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if max(image.size) > _MAX_SIDE:
                raise OutputError(f"the picture is {image.width} x {image.height} px, too large", where=str(path))
            pixels = np.array(image.convert("RGBA"))
    except UnidentifiedImageError:
        raise OutputError("not a picture", where=str(path), fix="Use a PNG or JPEG file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot read the picture: {reason}", where=str(path)) from error
    pixels[..., 3] = 255
    return pixels
