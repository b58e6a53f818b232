"""Images by content: loaded with care, encoded once.

An image is known by the SHA-256 of its encoded bytes. Loading checks that it lies in its folder,
is of an allowed format, is whole, and is not larger than anything a model accepts; pixels are
decoded only by :func:`verify` and by the attacks that draw on them.

The bytes are sent to models as they are. A camera's EXIF orientation is therefore left to the
server, and pixels are given here as they are stored; width and height are those of the stored
picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from opensafemlrm.errors import ImageError, MissingImageError
from opensafemlrm.types import Image

MAX_BYTES: Final = 50 * 1024 * 1024
"""Largest file that is read, in bytes."""
MAX_PIXELS: Final = 64_000_000
"""Most pixels an image may have; more is taken for a decompression bomb."""
MEDIA_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further views behind it, as phones write them
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
LFS_POINTER: Final = b"version https://git-lfs"
"""How a file begins that stands in place of a large one."""
IS_A_POINTER: Final = (
    "this is a pointer of Git LFS, not the file itself: run `git lfs pull` in the release's folder"
)
_OPENERS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_URI_CACHE_BYTES: Final = 32 * 1024 * 1024
_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,  # Pillow's for a broken PNG
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    PILImage.DecompressionBombError,
)
"""What decoders are known to raise for hostile bytes."""


def load(path: Path, root: Path) -> Image:
    """Return the image at ``path``, which must lie inside ``root`` once links are followed.

    Raises ImageError if it is outside, missing, not a plain file, too large, not an image, of a
    format that models do not take, animated, or cut short.
    """
    try:
        real = path.resolve()
        inside = real.is_relative_to(root.resolve())
        if inside and real.is_file():
            size = real.stat().st_size
            data = real.read_bytes() if size <= MAX_BYTES else b""
            return _from_file(data, size, real)
    except ImageError as error:
        raise ImageError(error.reason, path=path) from error
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a zero byte in the name; RuntimeError: links that lead in a circle.
        raise ImageError(f"the image file cannot be read: {error}", path=path) from error
    if not inside:
        raise ImageError(
            f"the image lies outside the folder {root} (links are followed); copy it into the "
            "folder, or give the folder that holds it",
            path=path,
        )
    if real.exists():
        raise ImageError("the image is a folder or a device, not an image file", path=path)
    raise MissingImageError("the image is missing", path=path)


def _from_file(data: bytes, size: int, source: Path) -> Image:
    if size > MAX_BYTES:
        raise ImageError(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
    return from_bytes(data, source=source)


def from_bytes(data: bytes, source: Path | None = None) -> Image:
    """Return the image that ``data`` encodes, kept in memory unless ``source`` holds it too.

    Raises ImageError as :func:`load` does.
    """
    if not data:
        raise ImageError("the file is empty")
    if data.startswith(LFS_POINTER):
        raise ImageError(IS_A_POINTER)
    with _open(data) as picture, _explained("the image file is damaged"):
        name = picture.format or ""
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ImageError(f"{width}×{height} pixels are too many; the limit is {MAX_PIXELS:,}")
        if name != "MPO" and getattr(picture, "is_animated", False):
            raise ImageError("the image is animated; models see one frame, so choose it yourself")
        _check_whole(picture, data)
    digest = hashlib.sha256(data).hexdigest()
    return Image(digest, MEDIA_TYPES[name], width, height, source if source is not None else data)


def from_picture(
    picture: PILImage.Image, media_type: Literal["image/png", "image/jpeg"] = "image/png"
) -> Image:
    """Encode a picture (PNG level 1, or JPEG quality 95) and return it as an image."""
    buffer = io.BytesIO()
    if media_type == "image/jpeg":
        picture.save(buffer, "JPEG", quality=95)
    else:
        picture.save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    return Image(digest, media_type, picture.width, picture.height, data)


def read(image: Image) -> bytes:
    """Return the encoded bytes. Raises ImageError if the file is gone or no longer the same."""
    if isinstance(image.source, bytes):
        return image.source
    try:
        data = image.source.read_bytes()
    except OSError as error:
        reason = f"the image file can no longer be read: {error.strerror}"
        raise ImageError(reason, path=image.source) from error
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise ImageError("the image file has changed since it was first read", path=image.source)
    return data


def to_picture(image: Image) -> PILImage.Image:
    """Decode an image to RGB pixels, 8 bits a channel; what is transparent lies on white.

    Raises ImageError if the file is gone or has changed, or if its pixels cannot be decoded.
    """
    try:
        with _open(read(image)) as picture, _explained("the pixels cannot be decoded"):
            return _as_seen(picture)
    except ImageError as error:
        where = image.source if isinstance(image.source, Path) else None
        raise ImageError(error.reason, path=where) from error


def verify(image: Image) -> None:
    """Decode every pixel and raise ImageError if that fails, or if the bytes have changed."""
    to_picture(image).close()


class _URICache:
    """Data URIs of the images used last, bounded in bytes: encoded once, not once a use."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._uris: OrderedDict[str, str] = OrderedDict()

    def get(self, image: Image) -> str:
        """Return the URI of ``image``. Raises ImageError."""
        uri = self._uris.get(image.sha256)
        if uri is not None:
            self._uris.move_to_end(image.sha256)
            return uri
        data = base64.b64encode(read(image)).decode("ascii")
        uri = self._uris[image.sha256] = f"data:{image.media_type};base64,{data}"
        self._size += len(uri)
        while self._size > self._limit and len(self._uris) > 1:
            self._size -= len(self._uris.popitem(last=False)[1])
        return uri


_uris: Final = _URICache(_URI_CACHE_BYTES)


def data_uri(image: Image) -> str:
    """Return the image as a ``data:`` URI (plain ASCII, nothing in it needs escaping in JSON).

    Raises ImageError if the file is gone or has changed.
    """
    return _uris.get(image)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError, and silence what it warns of."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large and of odd images: here they are errors, or are fine.
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its text holds a memory address
        raise ImageError(f"{what}: its contents are not an image, or are damaged") from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"{what}: {str(error) or type(error).__name__}") from error


def _open(data: bytes) -> PILImage.Image:
    if not data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8")):
        raise ImageError("this is not a PNG, JPEG, WebP or GIF image, whatever its name says")
    with _explained("the image cannot be read"):
        return PILImage.open(io.BytesIO(data), formats=_OPENERS)


def _as_seen(picture: PILImage.Image) -> PILImage.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white
        return picture.convert("I").point(lambda level: level * (1 / 257)).convert("RGB")
    if picture.has_transparency_data:
        front = picture.convert("RGBA")
        return PILImage.alpha_composite(PILImage.new("RGBA", front.size, "white"), front).convert(
            "RGB"
        )
    return picture.convert("RGB")


def _check_whole(picture: PILImage.Image, data: bytes) -> None:
    """Raise (ImageError, or what Pillow raises) if the file ends early, without decoding it."""
    if picture.format == "PNG":
        picture.verify()  # reads the chunks to the last and compares their checksums
    elif picture.format == "GIF":
        picture.load()  # has no length and no checksum; few and small
    elif picture.format == "WEBP":
        if len(data) < int.from_bytes(data[4:8], "little") + 8:
            raise ImageError("the image file is cut short")
    elif not _jpeg_ends(data):
        raise ImageError("the image file is cut short")


def _jpeg_ends(data: bytes) -> bool:
    """Tell whether the end marker comes after the first scan; more may follow, as phones do it."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] == 0xFF:  # fill bytes between segments
            at += 1
        elif data[at + 1] == 0xDA:
            return data.find(b"\xff\xd9", at) != -1
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
