"""hn-init's frame parser, compiled for the host with the address sanitizer, against random and against good input."""

import random
import subprocess
from pathlib import Path

import pytest

from hypernetes import guest
from hypernetes.nodeagent.runtime.frames import Frame, encode, greeting, seed_of

INIT = Path(guest.__file__).parent / "init"


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("fuzz") / "frame_fuzz"
    sources = [Path(__file__).parent / "frame_fuzz.c", INIT / "frame.c"]
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", str(INIT)]
    subprocess.run(["gcc", *flags, "-o", str(binary), *map(str, sources)], check=True)
    return binary


def feed(parser: Path, data: bytes) -> list[str]:
    done = subprocess.run([parser], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode().splitlines()


def frames(rng: random.Random, count: int) -> list[Frame]:
    return [
        Frame(
            rng.randint(1, 255), rng.randint(0, 255), rng.getrandbits(32), rng.randbytes(rng.choice((0, 1, 50, 5000)))
        )
        for _ in range(count)
    ]


def printed(sent: list[Frame]) -> list[str]:
    return [f"{frame.type} {frame.id} {len(frame.payload)} {sum(frame.payload)}" for frame in sent]


def test_good_frames_arrive(parser: Path) -> None:
    rng = random.Random(1)
    epoch, sent = rng.randbytes(16), frames(rng, 50)
    data = greeting(epoch) + b"".join(encode(seed_of(epoch), frame) for frame in sent)
    assert feed(parser, data) == ["sync", *printed(sent)]


@pytest.mark.parametrize("seed", range(30))
def test_after_any_half_frame_a_new_connection_is_understood(parser: Path, seed: int) -> None:
    rng = random.Random(seed)
    first, second = rng.randbytes(16), rng.randbytes(16)
    before, after = frames(rng, 5), frames(rng, 5)
    old = greeting(first) + b"".join(encode(seed_of(first), frame) for frame in before)
    cut = rng.randint(0, len(old))
    data = old[:cut] + greeting(second) + b"".join(encode(seed_of(second), frame) for frame in after)
    lines = feed(parser, data)
    assert lines[-len(after) - 1 :] == ["sync", *printed(after)]
    whole = ["sync", *printed(before)]
    assert lines[: -len(after) - 1] == whole[: len(lines) - len(after) - 1], "half a frame was taken for a whole one"


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_no_harm(parser: Path, seed: int) -> None:
    rng = random.Random(seed)
    epoch = rng.randbytes(16)
    data = bytearray(greeting(epoch) + b"".join(encode(seed_of(epoch), frame) for frame in frames(rng, 20)))
    for _ in range(rng.randint(1, 200)):
        data[rng.randrange(len(data))] = rng.getrandbits(8)
    feed(parser, bytes(data))
    feed(parser, rng.randbytes(200_000))
