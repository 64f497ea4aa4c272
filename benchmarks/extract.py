"""Speed of the networks that make features, beside PyTorch, and of decoding; memory of long films.

    python -m benchmarks.extract
    python -m benchmarks.extract --networks=resnet,clip-vit --dtype=bfloat16 --repeats=5
    python -m benchmarks.extract --networks= --seconds=7200
    python -m benchmarks.extract --networks= --film=film.mp4

Weights and pixels are random. PyTorch, where it is installed, computes the same features of the
same pixels; the largest difference is relative to the largest feature. Films are decoded once for
frames and clips at the same time, in a process of their own.
"""

import argparse
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import av
import jax
import numpy as np

from benchmarks.measuring import in_new_process, peak_memory, seconds_of
from data.command import path_argument
from data.video.decoding import Video
from hero_jax.extractors.base import Extractor, Network
from hero_jax.extractors.registry import NETWORKS

SECONDS_PER_FEATURE = Fraction(3, 2)
# Rows at once, and their shape: frames of a film of 16 to 9, their centres, or clips.
ROWS = {
    "resnet": (8, 224, 398, 3),
    "slowfast": (2, 32, 224, 224, 3),
    "clip-vit": (16, 224, 224, 3),
    "mil-nce": (2, 32, 224, 224, 3),
    "efficientnet-lite0": (16, 224, 224, 3),
}
# Width, height, frames a second and length of the scene that a made film repeats.
WIDTH, HEIGHT, RATE, SCENE = 640, 360, 25, 10


def random_weights(network: Network) -> dict[str, np.ndarray]:
    """Returns weights that keep features finite."""
    rng, arrays = np.random.default_rng(0), {}
    for name, shape in network.shapes().items():
        if len(shape) == 1:
            arrays[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            scale = 1 / np.sqrt(np.prod(shape[1:]))
            arrays[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return arrays


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Returns the seconds of the fastest call but the first, which compiles."""
    return min([seconds_of(function) for _ in range(repeats + 1)][1:])


def measure(name: str, dtype: str, repeats: int, rows: int | None) -> str:
    """Returns a line about a network."""
    network = NETWORKS[name]
    count, *shape = ROWS[name]
    count = rows or count
    pixels = np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8)
    arrays = random_weights(network)
    extractor = Extractor(network, arrays, dtype)
    ours = fastest(lambda: extractor(pixels), repeats)
    line = f"{name:<20} {count:4d} {count / ours:10.2f}"
    if importlib.util.find_spec("torch") is None:
        return line
    theirs, features = measure_torch(name, arrays, pixels, repeats)
    error = np.abs(features - extractor(pixels)).max() / np.abs(features).max()
    return f"{line} {count / theirs:10.2f} {theirs / ours:8.2f} {error:11.1e}"


def measure_torch(
    name: str, arrays: Mapping[str, np.ndarray], pixels: np.ndarray, repeats: int
) -> tuple[float, np.ndarray]:
    """Returns the seconds that PyTorch takes for all rows, and its features."""
    import torch

    from benchmarks import torch_networks

    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    rows = torch.from_numpy(pixels)
    with torch.inference_mode():
        features = torch_networks.NETWORKS[name](tensors, rows).numpy()
        seconds = fastest(lambda: torch_networks.NETWORKS[name](tensors, rows), repeats)
    return seconds, features


def write_film(path: pathlib.Path, seconds: int) -> None:
    """Writes a film that repeats one scene of moving noise, which is encoded once."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    picture = picture.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = RATE, 0
        packets = []
        for number in range(min(SCENE, seconds) * RATE):
            moved = np.roll(picture, 4 * number, 1)
            packets += stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24"))
        packets += stream.encode(None)
        scene = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(seconds * RATE):
            content, is_keyframe = scene[number % len(scene)]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, is_keyframe
            film.mux(packet)


def decode(path: str) -> tuple[float, float, int, float, float]:
    """Decodes a film for frames and clips.

    Returns:
      Seconds of the film, seconds that it took, number of rows, and the process's peak memory in MB
      before and after.
    """
    before = peak_memory()
    samplings = [NETWORKS[name].sampling(SECONDS_PER_FEATURE, False) for name in ROWS]
    samplings = list(dict.fromkeys(samplings))
    rows = 0
    with Video(path) as video:
        film = video.seconds

        def drain() -> None:
            nonlocal rows
            for _ in video.rows(samplings):
                rows += 1

        taken = seconds_of(drain)
    return film, taken, rows, before, peak_memory()


def report_film(path: pathlib.Path) -> None:
    """Prints the speed and the memory of decoding a film."""
    film, taken, rows, before, after = in_new_process(decode, str(path))
    print(
        f"decoded {film:,.0f} s of film at {film / taken:.1f} s a second, {rows:,} rows of frames, "
        f"crops and clips; memory {after:,.0f} MB, {before:,.0f} MB before"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each network and one for a film."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extract", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--networks", default=",".join(ROWS), help="their names; '' for none")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, help="at once; default: as they suit each network")
    parser.add_argument("--seconds", type=int, default=120, help="of the film; 0 for none")
    parser.add_argument("--film", type=path_argument, help="a film, instead of one that is made")
    options = parser.parse_args(arguments)
    names = [name for name in options.networks.split(",") if name]
    if names:
        print(f"{jax.devices()[0].device_kind} x {jax.device_count()}, {options.dtype}")
        if importlib.util.find_spec("torch") is None:
            print("PyTorch is not installed: our networks alone")
        print("network              rows     rows/s    PyTorch    ratio  difference")
    for name in names:
        print(measure(name, options.dtype, options.repeats, options.rows), flush=True)
    if options.film:
        report_film(options.film)
    elif options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "film.mp4"
            write_film(path, options.seconds)
            report_film(path)


if __name__ == "__main__":
    main()
