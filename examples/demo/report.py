"""Work for a processor: a chart drawn at four times its size, and thumbnails of it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

_SIZE = (1200, 750)
_OVERSAMPLING = 2
_THUMBNAILS = (640, 320, 160)
_COLOURS = ("#2563eb", "#16a34a", "#d97706", "#9333ea", "#dc2626")


def render_chart(title: str, seed: int, directory: Path) -> list[Path]:
    """Draw a chart of random walks and write it and its thumbnails as PNG; returns the files."""
    numbers = random.Random(seed)
    width, height = _SIZE[0] * _OVERSAMPLING, _SIZE[1] * _OVERSAMPLING
    image = Image.new("RGB", (width, height), "#ffffff")
    draw = ImageDraw.Draw(image)
    for fraction in range(1, 10):
        y = height * fraction // 10
        draw.line([(0, y), (width, y)], fill="#e5e7eb", width=2)
    for colour in _COLOURS:
        draw.line(_walk(numbers, width, height), fill=colour, width=5, joint="curve")
    draw.text((40, 30), title, fill="#111827", font_size=56)
    shadow = image.filter(ImageFilter.GaussianBlur(12))
    image = Image.blend(shadow, image, 0.8)
    chart = image.resize(_SIZE, Image.Resampling.LANCZOS)

    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"report-{seed % 25}.png"]  # a handful of files, however long it runs
    chart.save(files[0], optimize=True)
    for pixels in _THUMBNAILS:
        small = chart.resize((pixels, pixels * _SIZE[1] // _SIZE[0]), Image.Resampling.LANCZOS)
        files.append(directory / f"report-{seed % 25}-{pixels}.png")
        small.save(files[-1], optimize=True)
    return files


def _walk(numbers: random.Random, width: int, height: int) -> list[tuple[float, float]]:
    steps = (numbers.gauss(0, height / 60) for _ in range(200))
    heights = itertools.accumulate(steps, initial=height / 2)
    return [(index * width / 200, y) for index, y in enumerate(heights)]
