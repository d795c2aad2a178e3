"""Pictures in, pictures out: every odd file that a reader may own, and every wrong array."""

import io
import os
import socket
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, PngImagePlugin

from cnnvis_helpers import images
from cnnvis_helpers.images import (
    ImageError, encode, heat, load_image, overlay, to_picture, to_tensor,
)

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)  # higher than wide would hide a swap
PICTURE = Image.fromarray(PIXELS)


def saved(folder: Path, picture: Image.Image, name: str, **options) -> Path:
    picture.save(folder / name, **options)
    return folder / name


def pixels(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture)


# ---- files that can be read -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_files_come_back_as_they_were(tmp_path, suffix):
    path = saved(tmp_path, PICTURE, f"a.{suffix}")
    for source in (path, str(path)):
        np.testing.assert_array_equal(pixels(load_image(source)), PIXELS)


def test_the_content_decides_and_not_the_suffix(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    PICTURE.save(path, "png")
    np.testing.assert_array_equal(pixels(load_image(path)), PIXELS)


@pytest.mark.parametrize(("orientation", "undo"), [
    (1, lambda a: a), (2, lambda a: a[:, ::-1]), (3, lambda a: a[::-1, ::-1]),
    (4, lambda a: a[::-1]), (5, lambda a: a.transpose(1, 0, 2)),
    (6, lambda a: np.rot90(a, -1)), (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
    (8, lambda a: np.rot90(a, 1)),
])
def test_a_rotated_photograph_is_turned_upright(tmp_path, orientation, undo):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, PICTURE, "turned.png", exif=exif)
    np.testing.assert_array_equal(pixels(load_image(path)), undo(PIXELS))
    with Image.open(path) as lazy:  # a picture that the reader opened is treated alike
        np.testing.assert_array_equal(pixels(load_image(lazy)), undo(PIXELS))


def test_metadata_is_not_carried_along(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a camera with a name"
    path = saved(tmp_path, PICTURE, "a.jpg", exif=exif, comment=b"where I live")
    picture = load_image(path)
    assert not picture.info and not dict(picture.getexif())
    assert b"camera" not in encode(picture) and b"where I live" not in encode(picture)


def test_alpha_is_laid_over_white(tmp_path):
    rgba = np.dstack([PIXELS, np.zeros((6, 8), np.uint8)])
    rgba[:, 4:, 3] = 255
    rgba[0, 0] = (0, 0, 0, 51)  # a fifth of black over white is 204
    got = pixels(load_image(saved(tmp_path, Image.fromarray(rgba), "a.png")))
    np.testing.assert_array_equal(got[:, 4:], PIXELS[:, 4:])
    assert (got[1:, :4] == 255).all() and (got[0, 0] == 204).all()


def test_grey_with_alpha(tmp_path):
    la = Image.fromarray(np.dstack([np.full((4, 5), 100, np.uint8), np.zeros((4, 5), np.uint8)]))
    assert la.mode == "LA"
    la.putpixel((0, 0), (100, 255))
    got = pixels(load_image(saved(tmp_path, la, "a.png")))
    assert (got[0, 0] == 100).all() and (got[1:] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_every_mode_with_alpha_turns_white_where_transparent(mode):
    clear = Image.new("P" if mode == "PA" else "RGBA", (3, 3), 0)
    if mode == "PA":  # there is no converting to it that keeps the alpha
        clear.putpalette([200, 10, 20])
        clear.putalpha(0)
    elif mode == "La":
        clear = clear.convert("LA")
    clear = clear.convert(mode)
    assert clear.mode == mode
    assert (pixels(to_picture(clear)) == 255).all()


def test_a_palette_with_and_without_transparency(tmp_path):
    palette = Image.new("P", (4, 3), 0)
    palette.putpalette([200, 10, 20, 30, 40, 250])
    palette.putpixel((1, 1), 1)
    got = pixels(load_image(saved(tmp_path, palette, "plain.png")))
    assert tuple(got[0, 0]) == (200, 10, 20) and tuple(got[1, 1]) == (30, 40, 250)
    for name in ("clear.png", "clear.gif"):
        got = pixels(load_image(saved(tmp_path, palette, name, transparency=0)))
        assert (got[0, 0] == 255).all() and tuple(got[1, 1]) == (30, 40, 250)


def test_one_colour_marked_as_transparent_in_an_rgb_file(tmp_path):
    picture = Image.new("RGB", (3, 2), (5, 6, 7))
    picture.putpixel((0, 0), (90, 80, 70))
    got = pixels(load_image(saved(tmp_path, picture, "a.png", transparency=(5, 6, 7))))
    assert tuple(got[0, 0]) == (90, 80, 70) and (got[1] == 255).all()


def test_grey_and_black_and_white(tmp_path):
    grey = Image.fromarray(PIXELS[..., 0])
    got = pixels(load_image(saved(tmp_path, grey, "grey.png")))
    np.testing.assert_array_equal(got, PIXELS[..., :1].repeat(3, axis=2))
    bits = Image.new("1", (3, 3), 1)
    bits.putpixel((1, 0), 0)
    got = pixels(load_image(saved(tmp_path, bits, "bits.png")))
    assert (got[0, 1] == 0).all() and (got[1:] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix):
    values = np.array([[0, 255, 256], [32768, 65534, 65535]], np.uint16)
    got = pixels(load_image(saved(tmp_path, Image.fromarray(values), f"deep.{suffix}")))
    np.testing.assert_array_equal(got[..., 0], np.rint(values / 257.0))
    assert (got == got[..., :1]).all()


def test_16_bit_grey_that_is_read_as_32_bit():
    values = np.array([[0, 40000, 65535]], np.int32)
    got = pixels(to_picture(Image.fromarray(values)))
    np.testing.assert_array_equal(got[0, :, 0], [0, 156, 255])
    for odd in (-1, 65536):
        with pytest.raises(ImageError, match=f"{odd}.*not 0..65535"):
            to_picture(Image.fromarray(np.array([[odd, 5]], np.int32)))


def test_16_bit_colour(tmp_path):
    path = tmp_path / "deep.png"
    values = np.array([[[0, 65535, 32896], [257, 514, 65278]]], ">u2")  # 0, 255, 128, 1, 2, 254
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    path.write_bytes(png(2, 1, 16, 2, zlib.compress(rows)))
    np.testing.assert_array_equal(pixels(load_image(path)), [[[0, 255, 128], [1, 2, 254]]])


def test_float_files(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "a.tif")
    np.testing.assert_array_equal(pixels(load_image(path))[0, :, 0], [0, 128, 255])
    path = saved(tmp_path, Image.fromarray(np.array([[0, 99.0]], np.float32)), "b.tif")
    with pytest.raises(ImageError, match="99"):
        load_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    colours = Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK")
    got = pixels(load_image(saved(tmp_path, colours, f"print.{suffix}")))
    assert np.abs(got.astype(int) - (200, 30, 60)).max() <= 6


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_colour_spaces(mode):
    got = pixels(to_picture(Image.new("RGB", (4, 4), (200, 30, 60)).convert(mode)))
    assert np.abs(got.astype(int) - (200, 30, 60)).max() <= 6


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_of_several_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"film.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert (pixels(load_image(path)) == (255, 0, 0)).all()


def test_one_pixel_is_a_picture(tmp_path):
    assert load_image(saved(tmp_path, Image.new("RGB", (1, 1)), "dot.png")).size == (1, 1)


# ---- files that cannot ------------------------------------------------------------------------


def png(width: int, height: int, depth: int, kind: int, body: bytes, *more: bytes) -> bytes:
    """Write a PNG by hand, to say in its head what is not so."""
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *more, chunk(b"IDAT", body),
                     chunk(b"IEND", b"")])


def refused(source, reason: str) -> None:
    """Expect an ImageError that names the source and the reason."""
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(source)
    assert str(source) in str(caught.value)


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty file")


@pytest.mark.parametrize("content", [b"just a shopping list\n", b"\0" * 4096, b"<html>404</html>"])
def test_a_mislabelled_file(tmp_path, content):
    (tmp_path / "list.jpg").write_bytes(content)
    refused(tmp_path / "list.jpg", "not a picture in a known format")


def test_no_format_that_starts_other_programs(tmp_path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    refused(tmp_path / "a.png", "not a picture in a known format")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_truncated_anywhere(tmp_path, suffix):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    whole = saved(tmp_path, noise, f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for share in (0.002, 0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: max(1, int(share * len(whole)))])
        refused(path, ".")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_damage_gives_a_picture_or_an_image_error(tmp_path, suffix):
    """Nothing but ImageError ever escapes, whatever Pillow's readers raise."""
    rng = np.random.default_rng(1)
    whole = np.frombuffer(saved(tmp_path, PICTURE, f"a.{suffix}").read_bytes(), np.uint8)
    path, outcomes = tmp_path / f"hurt.{suffix}", set()
    for _ in range(150):
        hurt = whole.copy()
        where = rng.integers(0, min(len(hurt), 80), rng.integers(1, 12))
        hurt[where] = rng.integers(0, 256, len(where))
        path.write_bytes(hurt.tobytes())
        try:
            outcomes.add(load_image(path).mode)
        except ImageError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes and outcomes <= {"refused", "RGB"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_pictures_are_refused_before_they_are_unpacked(tmp_path):
    for side in (7100, 30000, 2**31 - 1):  # 50, 900 and 4.6e12 megapixels, in some hundred bytes
        (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 2, zlib.compress(b"")))
        refused(tmp_path / "bomb.png", "pixels")


@pytest.mark.filterwarnings("error")
def test_a_bomb_is_an_image_error_even_where_warnings_are(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(12000, 9000, 8, 2, zlib.compress(b"")))
    refused(tmp_path / "bomb.png", "pixels")


def test_the_size_limit_is_exact(tmp_path, monkeypatch):
    path = saved(tmp_path, PICTURE, "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 48)
    assert load_image(path).size == (8, 6)
    monkeypatch.setattr(images, "MAX_PIXELS", 47)
    refused(path, "8 × 6 pixels are above 47")
    with pytest.raises(ImageError, match="8 × 6"):
        to_picture(PICTURE)


def test_a_bomb_in_a_text_chunk(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("story", "a" * 5_000_000, zip=True)
    refused(saved(tmp_path, PICTURE, "a.png", pnginfo=text), "[Tt]ext|[Dd]ecompress")


def test_directories_devices_and_missing_files(tmp_path):
    refused(tmp_path, "directory")
    refused(os.devnull, "device")
    refused(tmp_path / "no.png", "no such file")
    refused("x" * 5000, "no such file")
    refused("a\0b", "no such file|null byte")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "device")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file(tmp_path):
    path = saved(tmp_path, PICTURE, "secret.png")
    path.chmod(0)
    refused(path, "[Pp]ermission")


def test_a_picture_opened_but_truncated(tmp_path):
    path = saved(tmp_path, PICTURE.resize((99, 99)), "whole.png")
    path.write_bytes(path.read_bytes()[:900])
    with Image.open(path) as lazy, pytest.raises(ImageError, match="truncated"):
        load_image(lazy)


@pytest.mark.parametrize("source", [None, 42, 3.5, {}, object(), b"bytes", [], [[1, 2], [3]],
                                    [[0.5]], np.float32(0.5)])
def test_what_is_no_source_at_all(source):
    with pytest.raises(ImageError, match=type(source).__name__):
        load_image(source)


# ---- names and addresses ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [
    ("cat", (451, 300)), ("coffee", (600, 400)), ("rocket", (640, 427)), ("Cat", (451, 300)),
])
def test_bundled_photographs(name, size):
    picture = load_image(name)
    assert picture.size == size and pixels(picture).std() > 20


def test_a_name_stays_a_name_beside_a_directory_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat").mkdir()
    assert load_image("cat").size == (451, 300)
    refused(Path("cat"), "directory")  # a Path is a path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for shade, name in enumerate(
        ["0281_tabby.jpg", "0207_golden_retriever.jpg", "spider.png", "0074_Garden_Spider.png",
         "0134_crane.png", "0517_crane.png", "0009_spider.png"]
    ):
        Image.new("RGB", (4, 4), (shade * 20,) * 3).save(folder / name)
    (folder / "tabby.txt").write_text("a list")
    (folder / "folder.png").mkdir()
    monkeypatch.setenv("CNNVIS_PHOTOS", str(folder))
    return folder


@pytest.mark.parametrize(("name", "shade"), [
    ("tabby", 0), ("0281_tabby", 0), ("0281_tabby.jpg", 0), ("TABBY", 0),
    ("golden_retriever", 20), ("Golden Retriever", 20),
    ("spider", 40),  # the whole stem comes before a stem without its number
    ("garden_spider", 60), ("0517_crane", 100),
])
def test_names_in_the_folder_of_photographs(photos, name, shade):
    assert np.abs(pixels(load_image(name)).astype(int) - shade).max() <= 2


def test_names_that_are_not_clear_or_not_there(photos):
    refused("crane", "0134_crane.png or 0517_crane.png")
    refused("tabbby", "tabby")  # the near name is offered
    refused(Path("tabby"), "no such file")
    refused("folder", "directory")


def test_a_folder_of_photographs_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNVIS_PHOTOS", str(tmp_path / "nowhere"))
    refused("tabby", "cat, coffee, rocket")


@pytest.fixture(scope="module")
def server():
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            body = {"/cat.png": encode(PICTURE, "png"), "/page.png": b"<!DOCTYPE html>",
                    "/empty.png": b"", "/short.png": encode(PICTURE, "png")}.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: 60 if self.path == "/short.png" else None])

        def log_message(self, *args):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """Keep a proxy of this machine out of the way of its own server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


def test_an_address(server):
    np.testing.assert_array_equal(pixels(load_image(f"{server}/cat.png")), PIXELS)
    np.testing.assert_array_equal(pixels(load_image(f"HTTP{server[4:]}/cat.png")), PIXELS)


@pytest.mark.parametrize(("path", "reason"), [
    ("/gone.png", "404"), ("/page.png", "not a picture"), ("/empty.png", "not a picture"),
    ("/short.png", "truncated|IncompleteRead"), ("/two words.png", "control characters"),
])
def test_addresses_that_give_no_picture(server, path, reason):
    refused(server + path, reason)


def test_a_dead_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/cat.png", "refused")
    refused("http://", "no host")
    refused("https://[half", "Invalid")


def test_a_download_has_a_size_limit(server, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 50)
    refused(f"{server}/cat.png", "above 50 bytes")


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(images, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        refused(f"http://127.0.0.1:{silent.getsockname()[1]}/a.png", "timed out")


# ---- arrays and tensors -----------------------------------------------------------------------


def test_the_same_picture_in_every_shape():
    first = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for x in (PICTURE, PIXELS, PIXELS / 255, (PIXELS / 255).astype(np.float32), first, first[None],
              first / 255, (first / 255).double().requires_grad_(), PIXELS.astype(np.uint16) * 257,
              PIXELS[::-1][::-1], np.asfortranarray(PIXELS)):
        np.testing.assert_array_equal(pixels(to_picture(x)), PIXELS)
        np.testing.assert_array_equal(pixels(load_image(x)), PIXELS)
        assert to_tensor(x).shape == (1, 3, 6, 8)
        assert torch.equal(to_tensor(x)[0].mul(255).round().byte(), first)


def test_half_precision():
    first = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for dtype, error in ((torch.float16, 0.001), (torch.bfloat16, 0.004)):
        got = to_tensor((first / 255).to(dtype))
        assert got.dtype == torch.float32
        assert (got[0] - first / 255).abs().max() <= error


def test_one_channel_becomes_grey():
    grey = PIXELS[..., 0]
    for x in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None],
              torch.from_numpy(grey)[None, None]):
        np.testing.assert_array_equal(pixels(to_picture(x)), grey[..., None].repeat(3, 2))


def test_masks_are_black_and_white():
    mask = PIXELS[..., 0] > 128
    for x in (mask, torch.from_numpy(mask)):
        np.testing.assert_array_equal(pixels(to_picture(x))[..., 1], mask * 255)
        np.testing.assert_array_equal(to_tensor(x)[0, 0].numpy(), mask.astype(np.float32))


def test_to_tensor_is_exactly_the_usual_division():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    want = torch.arange(256, dtype=torch.float32).reshape(16, 16).div(255)
    for x in (values, Image.fromarray(values)):
        got = to_tensor(x)
        assert got.dtype == torch.float32 and got.is_contiguous()
        assert torch.equal(got[0, 1], want)


def test_floats_are_not_rounded_to_8_bits():
    x = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_tensor(x), x)


def test_rounding_is_to_the_nearest():
    values = np.array([[0.0, 0.499, 0.501, 254.6]]) / 255
    assert pixels(to_picture(values))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_what_is_given_is_not_changed_nor_shared():
    array, tensor, picture = PIXELS.copy(), torch.rand(3, 4, 4), PICTURE.copy()
    before = tensor.clone()
    to_tensor(array).zero_()
    to_tensor(tensor).zero_()
    for x in (picture, array, tensor):
        to_picture(x).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(array, PIXELS)
    np.testing.assert_array_equal(np.asarray(picture), PIXELS)
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("x", [
    np.zeros((3, 8, 8)), np.zeros((8, 8, 4)), np.zeros((8, 8, 2)), np.zeros(8),
    np.zeros((1, 8, 8, 3)), np.zeros((0, 8)), np.zeros((8, 0, 3)), np.array(0.5),
    torch.zeros(8, 8, 3), torch.zeros(2, 3, 8, 8), torch.zeros(4, 8, 8), torch.zeros(0, 8),
    torch.zeros(1, 1, 3, 8, 8), torch.tensor(0.5),
], ids=lambda x: f"{type(x).__name__}{tuple(x.shape)}")
def test_wrong_shapes_are_named(x):
    for convert in (to_picture, to_tensor, load_image):
        with pytest.raises(ImageError) as caught:
            convert(x)
        assert str(tuple(x.shape)) in str(caught.value)


@pytest.mark.parametrize("x", [
    np.zeros((4, 4), np.int64), np.zeros((4, 4), np.int8), np.zeros((4, 4), complex),
    np.zeros((4, 4), object), np.full((4, 4), "a"), torch.zeros(4, 4, dtype=torch.int32),
    torch.zeros(4, 4, dtype=torch.complex64),
], ids=lambda x: str(x.dtype))
def test_wrong_types_are_named(x):
    with pytest.raises(ImageError, match=str(x.dtype).removeprefix("torch.")):
        to_picture(x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.01, -0.01, 255.0, -2.1])
def test_values_out_of_range_are_refused_and_not_rescaled(value):
    x = np.full((4, 4, 3), 0.5)
    x[1, 2, 0] = value
    for y in (x, torch.from_numpy(x).permute(2, 0, 1)):
        for convert in (to_picture, to_tensor):
            with pytest.raises(ImageError, match=r"not in \[0, 1\]"):
                convert(y)


def test_rounding_errors_are_clipped():
    x = np.array([[-1e-6, 1 + 1e-6]], np.float32)
    assert to_tensor(x)[0, 0].tolist() == [[0, 1]]


@settings(max_examples=50)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda s: (*s, 3))))
def test_8_bit_values_survive_every_way_round(x):
    np.testing.assert_array_equal(pixels(to_picture(to_tensor(to_picture(x)))), x)
    np.testing.assert_array_equal(pixels(load_image(Image.open(io.BytesIO(encode(x, "png"))))), x)


FLOATS = st.floats(0, 1) | st.sampled_from([np.nan, np.inf, -np.inf, -0.5, 2.0, 1e300])
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@settings(max_examples=60)
@given(st.sampled_from([st.floats(0, 1), FLOATS]).flatmap(
    lambda elements: arrays(np.float64, SHAPES, elements=elements)
))
def test_any_float_array_is_a_picture_or_an_image_error(x):
    fits = x.ndim == 2 or (x.ndim == 3 and x.shape[2] in (1, 3))
    good = fits and x.size and np.isfinite(x).all() and x.min() >= -1e-3 and x.max() <= 1.001
    if good:
        assert to_picture(x).size == (x.shape[1], x.shape[0])
    else:
        with pytest.raises(ImageError):
            to_picture(x)


# ---- heat and overlay -------------------------------------------------------------------------


def colour_of(value: float, limit: float = 1.0, signed: bool | None = None) -> np.ndarray:
    return pixels(heat(np.array([[value]]), limit=limit, signed=signed))[0, 0].astype(int)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """Return CIE L*, from the colours alone and not from how they were made."""
    rgb = np.asarray(rgb) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def seen_without_green_cones(rgb: np.ndarray) -> np.ndarray:
    """Simulate deuteranopia (Viénot, Brettel and Mollon 1999), in linear light."""
    linear = (np.asarray(rgb) / 255) ** 2.2
    red_and_green, blue = [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]
    return linear @ np.array([red_and_green, red_and_green, blue]).T


def test_red_is_positive_blue_negative_and_zero_neutral():
    red, blue, zero = colour_of(1, signed=True), colour_of(-1), colour_of(0, signed=True)
    assert red[0] > red[2] + 60 and blue[2] > blue[0] + 60
    assert np.ptp(zero) <= 2 and zero.min() > 240
    assert colour_of(0.5, signed=True)[0] > colour_of(0.5, signed=True)[2] + 60


def test_the_signed_scale_is_symmetric_and_falls_to_both_sides():
    steps = np.linspace(0, 1, 101)
    up = np.array([lightness(colour_of(v, signed=True)) for v in steps])
    down = np.array([lightness(colour_of(-v, signed=True)) for v in steps])
    assert (np.diff(up) < 0).all() and (np.diff(down) < 0).all()
    assert np.abs(up - down).max() < 6


def test_the_unsigned_scale_rises_evenly_and_has_no_colour_twice():
    colours = pixels(heat(np.linspace(0, 1, 256)[None], signed=False))[0]
    light = lightness(colours)
    assert (np.diff(light) > -0.2).all() and light[0] < 10 and light[-1] > 93
    assert np.abs(light - np.linspace(light[0], light[-1], 256)).max() < 9
    assert len({tuple(c) for c in colours}) > 250  # a cyclic map would meet itself
    far = np.linalg.norm(colours[:, None].astype(float) - colours[None], axis=2)
    places = np.abs(np.subtract.outer(np.arange(256), np.arange(256)))
    assert far[places > 40].min() > 30


def test_the_ends_of_the_signed_scale_differ_to_the_colour_blind():
    for share in (0.3, 0.6, 1.0):
        pair = np.array([colour_of(share, signed=True), colour_of(-share)])
        assert np.linalg.norm(np.subtract(*seen_without_green_cones(pair))) > 0.15


def test_zero_keeps_its_colour_whatever_the_other_values_are():
    for values in ([[0, 1, 5]], [[0, -3, 1]], [[0, -1, -9]]):
        want = colour_of(0, signed=min(values[0]) < 0)
        np.testing.assert_array_equal(pixels(heat(np.array(values)))[0, 0], want)


def test_the_same_limit_gives_the_same_colours():
    wide, narrow = np.array([[0.2, 2.0]]), np.array([[0.2, 0.4]])
    np.testing.assert_array_equal(pixels(heat(wide, 2))[0, 0], pixels(heat(narrow, 2))[0, 0])
    np.testing.assert_array_equal(colour_of(7, 2), colour_of(2, 2))
    np.testing.assert_array_equal(colour_of(-7, 2), colour_of(-2, 2))


def test_the_largest_value_ends_the_scale_by_default():
    np.testing.assert_array_equal(pixels(heat(np.array([[0.5, 4.0]])))[0, 1], colour_of(1))
    np.testing.assert_array_equal(pixels(heat(np.array([[0.5, -4.0]])))[0, 1], colour_of(-1))


@pytest.mark.parametrize("signed", [None, True, False])
def test_a_map_of_zeros_is_flat_and_not_divided_into_nan(signed):
    got = pixels(heat(np.zeros((4, 5)), signed=signed))
    assert (got == colour_of(0, signed=bool(signed))).all()
    grey = np.asarray(PICTURE.convert("L"))[..., None]
    assert (pixels(overlay(PICTURE, np.zeros((6, 8)), signed=signed)) == grey).all()


def test_a_scale_is_not_cut_into_steps():
    """Half a 256th of the scale apart, colours still differ somewhere: nothing is quantised."""
    fine = pixels(heat(np.linspace(0, 1, 2000)[None], signed=False))[0]
    assert len({tuple(c) for c in fine}) > 600


def test_all_shapes_and_types_of_a_map():
    values = np.arange(-6, 6).reshape(3, 4)
    want = pixels(heat(values))
    assert want.shape == (3, 4, 3)
    for x in (values / 8, values[None], values[None, None], torch.from_numpy(values)[None],
              torch.from_numpy(values / 2.0).requires_grad_(), values.astype(np.float16),
              torch.from_numpy(values).bfloat16(), values.tolist()):
        np.testing.assert_array_equal(pixels(heat(x)), want)
    mask = pixels(heat(values > 0))
    np.testing.assert_array_equal(mask[0, 0], colour_of(0))
    np.testing.assert_array_equal(mask[2, 3], colour_of(1))


@settings(max_examples=50)
@given(arrays(np.float64, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_finite_map_can_be_painted(values):
    got = pixels(heat(values))
    assert got.shape == (3, 4, 3)
    signed = bool((values < 0).any())
    for zero in got[values == 0]:
        np.testing.assert_array_equal(zero, colour_of(0, signed=signed))
    if np.abs(values).max() > 0:  # a positive factor changes nothing
        np.testing.assert_array_equal(pixels(heat(values / np.abs(values).max())), got)


@pytest.mark.parametrize("paint", [heat, lambda v, **k: overlay(PICTURE, v, **k)])
def test_bad_maps_are_refused(paint):
    good = np.ones((6, 8))
    for value in (np.nan, np.inf, -np.inf):
        bad = good.copy()
        bad[2, 3] = value
        with pytest.raises(ValueError, match="NaN or infinity in 1 place"):
            paint(bad)
    for shape in ((), (8,), (2, 6, 8), (1, 2, 6, 8), (6, 8, 3), (1, 1, 1, 6, 8), (0, 8)):
        with pytest.raises(ValueError, match="shape"):
            paint(np.ones(shape))
    for kind in (complex, object, str):
        with pytest.raises(ValueError, match="type"):
            paint(good.astype(kind))
    for limit in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="limit"):
            paint(good, limit=limit)
    with pytest.raises(ValueError, match="-2"):
        paint(good * -2, signed=False)


def test_an_overlay_leaves_grey_where_the_map_is_zero():
    values = np.zeros((6, 8))
    values[2, 3] = 4
    got, grey = pixels(overlay(PICTURE, values)), np.asarray(PICTURE.convert("L"))
    np.testing.assert_array_equal(np.delete(got.reshape(-1, 3), 19, 0)[:, 0], np.delete(grey, 19))
    want = 0.4 * grey[2, 3] + 0.6 * colour_of(1)
    assert np.abs(got[2, 3] - want).max() <= 1


def test_an_overlays_strength():
    values = np.ones((6, 8))
    assert (pixels(overlay(PICTURE, values, strength=1)) == colour_of(1)).all()
    grey = np.asarray(PICTURE.convert("L"))[..., None]
    assert (pixels(overlay(PICTURE, values, strength=0)) == grey).all()
    for strength in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="strength"):
            overlay(PICTURE, values, strength=strength)


def test_an_overlay_uses_the_signed_scale_when_told():
    got = pixels(overlay(PICTURE, np.ones((6, 8)), strength=1, signed=True))
    assert (got == colour_of(1, signed=True)).all()


@pytest.mark.parametrize("shape", [(3, 4), (7, 7), (8, 6), (12, 16)])
def test_an_overlay_of_another_size_says_what_to_do(shape):
    with pytest.raises(ValueError, match="upsample") as caught:
        overlay(PICTURE, np.ones(shape))
    assert str(shape) in str(caught.value) and "(6, 8)" in str(caught.value)


# ---- encode -----------------------------------------------------------------------------------


def test_encode_gives_files_of_the_kind_asked_for():
    for kind in ("jpeg", "png"):
        with Image.open(io.BytesIO(encode(PICTURE, kind))) as back:
            assert back.format == kind.upper() and back.size == (8, 6)
            far = np.abs(pixels(load_image(back)).astype(int) - PIXELS).max()
            assert far == 0 if kind == "png" else far < 60
    assert encode(PICTURE) == encode(PIXELS) == encode(to_tensor(PICTURE))


def test_jpeg_keeps_the_colour_of_single_pixels():
    signs = np.indices((64, 64)).sum(0) % 2 * 2 - 1
    picture = heat(signs)
    back = np.asarray(Image.open(io.BytesIO(encode(picture)))).astype(int)
    redder = back[..., 0] - back[..., 2] > 0
    np.testing.assert_array_equal(redder, signs > 0)


def test_a_lower_quality_is_smaller():
    noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert len(encode(noise, quality=30)) < len(encode(noise, quality=88)) / 2


@pytest.mark.parametrize("options", [
    {"format": "gif"}, {"format": "JPEG"}, {"format": None}, {"quality": 0}, {"quality": 96},
])
def test_encode_refuses_other_formats_and_qualities(options):
    with pytest.raises(ValueError, match=repr(next(iter(options.values())))):
        encode(PICTURE, **options)
