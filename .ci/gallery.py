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
from cnnvis_helpers.picturebook.catalogue import write_readme

OUT = folder("data") / "gallery"
ATLAS_BYTES = 250_000  # of the atlas's largest pages, twelve rows of channels


def twins():
    """Draw every kind above its twin."""
    pages = [
        draw_scene(seed, kind, extent=0.72, place=(0.5, 0.55))
        for seed, kind in enumerate(KINDS[::2])
    ]
    pairs = [(page.image, page.kinds[0]) for page in pages]
    pairs += [(page.twin().image, page.twin().kinds[0]) for page in pages]
    render(arrange(*pairs, columns=8, height=112)).save(OUT / "twins.jpg", quality=86)


def class_images():
    """Draw nine class images of every kind, from nine starts (lesson 12)."""
    from torchvision.utils import make_grid

    from cnnvis_helpers.images import to_picture
    from cnnvis_helpers.lessons import deep_visualization as lesson
    from cnnvis_helpers.networks import load_network

    net = load_network("picturebook", device="cpu")
    for kind in KINDS:
        x, _ = lesson.class_images(net, [kind] * 9, **lesson.GALLERY)
        pixels = (x * net.std + net.mean).clamp(0, 1)
        page = to_picture(make_grid(pixels, nrow=3, padding=4, pad_value=1.0))
        path = OUT / f"classes_{kind}.jpg"
        for quality in range(84, 40, -4):  # the best that fits: 16 files, 400 KB
            page.save(path, quality=quality, optimize=True)
            if path.stat().st_size <= 25_000:
                break


def atlas():
    """Lay out what each channel of three layers of two networks likes best (lesson 11)."""
    from cnnvis_helpers.lessons import activation_maximization as lesson
    from cnnvis_helpers.networks import load_network

    for name, layers in lesson.ATLAS.items():
        net = load_network(name, missing="skip", device="cpu")
        if net is None:
            print(f"atlas: the weights of {name} are not here, its pages stay as they are")
            continue
        for layer in layers:
            page, path = lesson.atlas_page(net, layer), OUT / f"atlas_{name}_{layer}.jpg"
            for quality in range(86, 30, -4):  # the best that fits
                page.save(path, quality=quality, optimize=True)
                if path.stat().st_size <= ATLAS_BYTES * page.height / (12 * lesson.PITCH):
                    break


def emblem():
    """Put one page through every attribution method (lesson 17)."""
    from cnnvis_helpers.lessons import sanity_checks as lesson
    from cnnvis_helpers.networks import load_network

    net, scene = load_network("picturebook", device="cpu"), draw_scene(**lesson.EMBLEM)
    x, target = net.tensor(scene.image), net.index(scene.kinds[0])
    methods = lesson.every_method(lesson.LAST, lesson.EARLIER)
    maps = {name: method(net.model, x, target)[0] for name, method in methods.items()}
    page = render(arrange(*lesson.answers(net, scene, maps), columns=4))
    page.save(OUT / "emblem.jpg", quality=80, optimize=True)


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


PARTS = {"twins": twins, "emblem": emblem, "atlas": atlas, "classes": class_images,
         "thumbnails": thumbnails}


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
