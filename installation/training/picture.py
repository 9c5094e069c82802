"""Any picture file to sRGB uint8, and the one anti-aliased resize. Imports Pillow only when a picture is read; no torch.

Nothing about a file is believed: Pillow decodes it, whatever it raises becomes one PictureError, and sizes are bounded beforehand.
"""

from __future__ import annotations

import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from installation.errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# A 150-megapixel camera back passes; a small file that unpacks to gigabytes does not.
MAX_PIXELS = 170_000_000
MAX_FILE_BYTES = 1 << 30


class PictureError(OutputError):
    """One file cannot be used as a picture. `what` is the reason; a run over many files notes it and goes on."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    pixels: uint8 [H,W,3], sRGB, upright. format: Pillow's name of the file format. mode: the file's colour mode before conversion.
    frames: more than 1 in an animation or multi-page file, of which the first was taken. bits: of a channel, in the file.
    notes: what had to be done to it: "cmyk", "16bit", "alpha", "palette", "rotated", "profile" (converted to sRGB from another).
    quantisation: the JPEG's luminance table (64 entries), or None for other formats.
    """

    pixels: np.ndarray
    format: str
    mode: str
    frames: int = 1
    bits: int = 8
    notes: tuple[str, ...] = ()
    quantisation: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]


def read_picture(path: Path | str) -> Picture:
    """Decode a file. PictureError if it is no picture, damaged, empty, or larger than MAX_PIXELS."""
    path = Path(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # reading from a pipe would wait for ever
            raise PictureError("is no file", where=str(path))
        if facts.st_size > MAX_FILE_BYTES:
            raise PictureError("the file is larger than 1 GiB", where=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return decode_picture(data, where=str(path))


def unicode_name(path: Path) -> bool:
    """Whether a file's name is text: on Linux it need not be, and then no JSON or safetensors takes it."""
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def decode_picture(data: bytes, *, where: str = "") -> Picture:
    """The picture in a file's bytes. PictureError as `read_picture`."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise PictureError("the file is empty", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF, large sizes: judged here, by our own limits
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PictureError(f"{image.width}×{image.height} px is more than 170 megapixels", where=where)
                return _convert(image)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("not a picture", where=where) from error
    except Image.DecompressionBombError as error:
        raise PictureError("more than 170 megapixels", where=where) from error
    # Damaged files make Pillow's decoders raise nearly anything (struct.error, KeyError, IndexError, zlib.error, MemoryError ...).
    except Exception as error:
        raise PictureError(f"damaged: {str(error).strip()[:120] or type(error).__name__}", where=where) from error


def resize(
    pixels: np.ndarray, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Anti-aliased Lanczos-3 resize, computed in float from first to last pixel: no rounding between.

    pixels: uint8 or float [H,W,C], 0..255, display-referred (as FFHQ's and StyleGAN's tools resize). box: left, top, right, bottom in
    source px, fractions allowed; None for all. Returns float32 [height,width,C]; Lanczos may leave 0..255 by a little (see `to_uint8`).
    """
    from PIL import Image

    if not (width > 0 and height > 0):
        raise ValueError(f"{width}×{height} px is no size")
    planes = (Image.fromarray(np.ascontiguousarray(pixels[:, :, c], np.float32)) for c in range(pixels.shape[2]))
    done = [np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS, box=box)) for plane in planes]
    return np.stack(done, axis=2)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Float 0..255, any shape, to uint8: rounded and clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def to_bytes(img: Tensor) -> np.ndarray:
    """img [..., 3, H, W], -1..1, of any float type and device -> uint8 of that shape, rounded and clipped as the wall does."""
    return img.float().mul(127.5).add_(127.5).round_().clamp_(0, 255).byte().cpu().numpy()


def to_img(raw: Tensor) -> Tensor:
    """uint8 [..., 3, H, W] -> float32 -1..1 of that shape, layout and device."""
    return raw.float().div_(127.5).sub_(1)


def frame_of(img: Tensor) -> np.ndarray:
    """A network's picture [3, H, W], -1..1, as the wall shows it: uint8 [H, W, 3]."""
    return to_bytes(img).transpose(1, 2, 0)


def is_grey(pixels: np.ndarray) -> bool:
    """Whether a picture [H,W,3] has no colour beyond a few stray pixels: sepia is colour, a grey JPEG is not."""
    small = pixels[:: max(1, pixels.shape[0] // 256), :: max(1, pixels.shape[1] // 256)].astype(np.int16)
    return bool(np.percentile(small.max(axis=2) - small.min(axis=2), 99) <= 6)


def _convert(image: Image) -> Picture:
    from PIL import ImageOps

    mode, name = image.mode, image.format or ""
    # The further pictures of a camera's MPO are previews and gain maps of the same photograph: nothing moves.
    frames = 1 if name == "MPO" else int(getattr(image, "n_frames", 1))
    notes: list[str] = []
    table = getattr(image, "quantization", None)
    quantisation = tuple(int(q) for q in table[0]) if table and 0 in table and len(table[0]) == 64 else None
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) not in (0, 1):
        notes.append("rotated")
    image = upright
    bits = 8
    if mode.startswith(("I", "F")):
        bits = 16 if mode.startswith("I") else 32
        notes.append("16bit" if bits == 16 else "float")
        image = _deep_to_8bit(image)
    if mode == "P":
        notes.append("palette")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image, seen = _flatten(image.convert("RGBA"))
        notes += ["alpha"] if seen else []
    if mode == "CMYK":
        notes.append("cmyk")
    image, converted = _to_srgb(image)
    notes += ["profile"] if converted else []
    return Picture(np.array(image, dtype=np.uint8), name, mode, frames, bits, tuple(notes), quantisation)


def _deep_to_8bit(image: Image) -> Image:
    """One 16-bit or float channel to 8 bits. Integers are 0..65535; floats 0..1, or where they exceed it 0..255 or 0..65535."""
    from PIL import Image as Images

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise PictureError("holds values that are no numbers")
    peak = float(values.max(initial=0.0))
    if image.mode.startswith("F"):
        white = 1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else 65535.0
    else:
        white = 65535.0
    return Images.fromarray(to_uint8(values * (255.0 / white)))


def _flatten(image: Image) -> tuple[Image, bool]:
    """RGBA laid on mid-grey, which favours neither light nor dark edges; whether anything was transparent."""
    from PIL import Image as Images

    if np.asarray(image.getchannel("A")).min() == 255:
        return image.convert("RGB"), False
    ground = Images.new("RGBA", image.size, (128, 128, 128, 255))
    flat = Images.alpha_composite(ground, image).convert("RGB")
    flat.info = image.info  # its colour profile is still to be applied
    return flat, True


def _to_srgb(image: Image) -> tuple[Image, bool]:
    """RGB in sRGB; whether an embedded profile was applied. A damaged profile is passed over: the pixels are still a picture."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(source).lower():
                done = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if done is not None:
                    return done, True
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image.convert("RGB"), False
