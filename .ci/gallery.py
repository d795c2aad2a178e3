"""Make the larger pictures in data/gallery (`make gallery`).

    python .ci/gallery.py                 # all of them
    python .ci/gallery.py thumbnails      # one part
"""

import argparse
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


PARTS = {"twins": twins, "thumbnails": thumbnails}


def main(arguments=None):
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; without, all")
    given = reader.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        reader.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    Path(OUT).mkdir(parents=True, exist_ok=True)
    for name in given.parts or PARTS:
        PARTS[name]()
    write_readme(folder("data"))  # it holds every file's checksum


if __name__ == "__main__":
    main()
