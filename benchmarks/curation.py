"""Does the curation see? Engravings and paintings told from photographs, planted copies, enlarged and JPEG-mangled pictures found.

    python -m benchmarks.curation DATA               DATA holds the sets of portraits, as ../shared/data does
    python -m benchmarks.curation DATA --pictures 40

Prints three tables. Drawings: precision and recall on portraits labelled by eye, those apart that the weights were not fitted to.
Copies: how far each kind of planted copy lies from its original, and what the limits make of it; and what they make of pictures of
different people. Faults: the whole of `installation data scan` on planted files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from installation.training.data.drawing import drawing_chance, measure_cues
from installation.training.data.duplicates import Limits, groups, hashes, pack_features, unpack_features
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.rules import Rules, decide
from installation.training.data.scan import scan
from installation.training.features.efficientnet import Features
from installation.training.picture import decode_picture, read_picture, resize, to_uint8

LABELS = Path(__file__).resolve().parents[1] / "tests/training/data/labels_archive.json"
SETS = ("portraits_congress", "portraits_synthetic", "portraits_studio_hires")
Change = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--pictures", type=int, default=120, help="of each table, spread over the sets")
    options = arguments.parse_args()
    console, network = Console(width=140), Features()
    console.print(drawings(options.data / "portraits_archive", network))
    originals = chosen(options.data, options.pictures)
    console.print(copies(originals, network))
    console.print(faults(originals[:: max(1, len(originals) // 40)]))


def chosen(data: Path, count: int) -> list[tuple[str, np.ndarray]]:
    """(name, uint8 [H, W, 3]) of `count` pictures spread evenly; large ones halved, as sets on the web are."""
    found = []
    for name in SETS:
        files = sorted((data / name).glob("*.jpg"))
        for path in files[:: max(1, len(files) * len(SETS) // count)][: count // len(SETS)]:
            pixels = read_picture(path).pixels
            found.append((f"{name}/{path.name}", scaled(pixels, 0.5) if min(pixels.shape[:2]) > 900 else pixels))
    return found


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return to_uint8(resize(pixels, width, height))


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    return decode_picture(jpeg(pixels, quality)).pixels


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return data.getvalue()


def cropped(pixels: np.ndarray, share: float) -> np.ndarray:
    """Without `share` of each side: two thirds of it at the left and the top."""
    (height, width), first = pixels.shape[:2], 2 * share / 3
    top, left = round(first * height), round(first * width)
    return pixels[top : top + round((1 - share) * height), left : left + round((1 - share) * width)]


def brighter(pixels: np.ndarray, gain: float) -> np.ndarray:
    return to_uint8(pixels * gain)


COPIES: dict[str, Change] = {
    "half the size": lambda x: scaled(x, 0.5),
    "JPEG 40": lambda x: recompressed(x, 40),
    "brighter by a fifth": lambda x: brighter(x, 1.2),
    "darker by a fifth": lambda x: brighter(x, 0.8),
    "cropped by 3 %": lambda x: cropped(x, 0.03),
    "cropped by 6 %": lambda x: cropped(x, 0.06),
    "cropped by 10 %": lambda x: cropped(x, 0.1),
    "cropped 5 %, 0.6 size, JPEG 60": lambda x: recompressed(scaled(cropped(x, 0.05), 0.6), 60),
}


def drawings(folder: Path, network: Features) -> Table:
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["labels"]
    chances, unseen = [], []
    for name in labels:
        pixels = read_picture(folder / name).pixels
        chances.append(drawing_chance(measure_cues(pixels), pack_features(embedded(pixels, network))))
        unseen.append(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 1)
    chance, fresh = np.array(chances), np.array(unseen)
    drawn = np.array([label == "drawing" for label in labels.values()])
    table = Table("engraving or painting", "pictures", "precision", "recall", title="drawings, labelled by eye")
    drop, ask = Rules().drawing
    for text, said, true, among in (
        ("drawing, chance > 0.5, pictures not fitted to", chance > 0.5, drawn, fresh),
        ("photograph, chance ≤ 0.5, pictures not fitted to", chance <= 0.5, ~drawn, fresh),
        ("drawing, chance > 0.5, all", chance > 0.5, drawn, fresh | True),
        (f"dropped by rule (chance > {drop:g}), not fitted to", chance > drop, drawn, fresh),
        (f"dropped or asked about (> {ask:g}), not fitted to", chance > ask, drawn, fresh),
    ):
        hits = (said & true & among).sum()
        precision, recall = hits / max(1, (said & among).sum()), hits / (true & among).sum()
        table.add_row(text, str(int(among.sum())), f"{precision:.2f}", f"{recall:.2f}")
    return table


def embedded(pixels: np.ndarray, network: Features) -> np.ndarray:
    return network.embed(to_uint8(resize(pixels, 224, 224)).transpose(2, 0, 1)[None])[0]


def copies(originals: list[tuple[str, np.ndarray]], network: Features) -> Table:
    def entry(name: str, pixels: np.ndarray) -> Entry:
        codes = {**hashes(pixels), "features": pack_features(embedded(pixels, network))}
        return Entry(name, sha256=name, hashes=codes)

    here = [entry(name, pixels) for name, pixels in originals]
    limits = [Limits(loose=loose) for loose in (14, 16, 20)]
    table = Table(
        "copy", "pHash bits", "dHash bits", "cosine", *(f"found, asked (loose {one.loose})" for one in limits)
    )
    table.title = f"planted copies of {len(here)} pictures: median and worst twentieth"
    for text, change in COPIES.items():
        others = [entry(f"{name}/copy", change(pixels)) for name, pixels in originals]
        gaps = np.array([apart(a, b) for a, b in zip(here, others, strict=True)])
        cells = [
            f"{np.median(gaps[:, i]):.3g}, {np.quantile(gaps[:, i], 0.05 if i == 2 else 0.95):.3g}" for i in range(3)
        ]
        for one in limits:
            same = [groups(pair, one) for pair in zip(here, others, strict=True)]
            sure, asked = (sum(bool(found) and found[0].sure is kind for found in same) for kind in (True, False))
            cells.append(f"{sure / len(same):.0%}, {asked / len(same):.0%}")
        table.add_row(text, *cells)
    cells = []
    for one in limits:
        same = groups(here, one)
        cells.append(f"{sum(each.sure for each in same)}, {sum(not each.sure for each in same)} pairs")
    table.add_row("different pictures, taken for one", "", "", "", *cells)
    return table


def apart(a: Entry, b: Entry) -> tuple[float, float, float]:
    """Bits of pHash, bits of dHash, cosine."""
    bits = [(int(a.hashes[key], 16) ^ int(b.hashes[key], 16)).bit_count() for key in ("phash", "dhash")]
    cosine = unpack_features(a.hashes["features"]) @ unpack_features(b.hashes["features"])
    return float(bits[0]), float(bits[1]), float(cosine)


FAULTS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "as it is (PNG)": ("", lambda x: png(x)),
    "enlarged 1.5 times": ("upscaled", lambda x: png(scaled(scaled(x, 0.5), 1.5))),
    "enlarged 2 times": ("upscaled", lambda x: png(scaled(scaled(x, 0.5), 2.0))),
    "enlarged 4 times": ("upscaled", lambda x: png(scaled(scaled(x, 0.5), 4.0))),
    "JPEG 30": ("jpeg", lambda x: jpeg(x, 30)),
    "JPEG 10": ("jpeg", lambda x: jpeg(x, 10)),
    "JPEG 15 saved again as PNG": ("blocky", lambda x: png(recompressed(x, 15))),
    "JPEG 30 saved again as JPEG 95": ("blocky", lambda x: jpeg(recompressed(x, 30), 95)),
}


def png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def faults(originals: list[tuple[str, np.ndarray]]) -> Table:
    """One scan of all, each then decided by itself: here they are copies of each other on purpose."""
    table = Table("planted", "wanted reason", "with it", "dropped", "asked about", "kept")
    table.title = f"`installation data scan`: {len(originals)} pictures with a planted fault each"
    with tempfile.TemporaryDirectory(prefix="curation-") as work:
        folder = Path(work) / "pictures"
        for number, (text, (_, spoil)) in enumerate(FAULTS.items()):
            (folder / str(number)).mkdir(parents=True)
            for i, (_, pixels) in enumerate(originals):
                ending = "png" if "PNG" in text or "enlarged" in text else "jpg"
                (folder / str(number) / f"{i}.{ending}").write_bytes(spoil(pixels))
        scan(folder, Path(work) / "manifest.jsonl", with_text=False)
        found = Manifest.read(Path(work) / "manifest.jsonl").entries
    for number, (text, (reason, _)) in enumerate(FAULTS.items()):
        here = [decide(entry, Rules()) for name, entry in found.items() if name.split("/")[1] == str(number)]
        hit = sum(any(one.split(":")[0] == reason for one in entry.reasons) for entry in here)
        decided = [sum(entry.decision == kind for entry in here) for kind in ("drop", "uncertain", "keep")]
        shares = [f"{count / len(here):.0%}" for count in (hit, *decided)]
        table.add_row(text, reason, *(shares if reason else ["", *shares[1:]]))
    return table


if __name__ == "__main__":
    main()
