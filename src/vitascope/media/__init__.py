"""Read and write clips and pictures. The settings of a clip travel inside its file."""

from vitascope.media.pictures import contact_sheet, filmstrip, picture_from_base64png, picture_to_base64png, resize
from vitascope.media.reading import read_image, read_settings, read_video
from vitascope.media.writing import check_destination, encode, replace_file, write

__all__ = [
    "check_destination",
    "contact_sheet",
    "encode",
    "filmstrip",
    "picture_from_base64png",
    "picture_to_base64png",
    "read_image",
    "read_settings",
    "read_video",
    "replace_file",
    "resize",
    "write",
]
