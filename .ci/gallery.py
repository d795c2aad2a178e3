"""Make the README's pictures: data/gallery/*.jpg (`make gallery`)."""

import base64
import json
from pathlib import Path

from cnnvis_helpers import folder
from cnnvis_helpers.figures import arrange, render
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.cards import write_readme

OUT = folder("data") / "gallery"


def twins():
    """Draw every kind above its twin."""
    pages = [
        draw_scene(seed, kind, extent=0.72, place=(0.5, 0.55))
        for seed, kind in enumerate(KINDS[::2])
    ]
    pairs = [(page.image, page.kinds[0]) for page in pages]
    pairs += [(page.twin().image, page.twin().kinds[0]) for page in pages]
    render(arrange(*pairs, columns=8, height=112)).save(OUT / "twins.jpg", quality=86)


def thumbnails():
    """Save each lesson's first picture, from the outputs of its notebook."""
    for path in sorted(folder("notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        first = next(
            output["data"]["image/jpeg"]
            for cell in cells for output in cell.get("outputs", [])
            if "image/jpeg" in output.get("data", {})
        )  # fmt: skip
        (OUT / f"{path.stem}.jpg").write_bytes(base64.b64decode(first))


if __name__ == "__main__":
    Path(OUT).mkdir(parents=True, exist_ok=True)
    twins()
    thumbnails()
    write_readme(folder("data"))  # it holds every file's checksum
