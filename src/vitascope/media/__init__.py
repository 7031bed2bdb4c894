"""Read and write clips and pictures. The settings of a clip travel inside its file."""

from vitascope.media.pictures import (
    as_picture,
    contact_sheet,
    filmstrip,
    grid,
    mosaic,
    picture_from_base64png,
    picture_to_base64png,
    resize,
)
from vitascope.media.reading import (
    VIDEO_ENDINGS,
    count_frames,
    read_end,
    read_frames,
    read_image,
    read_settings,
    read_video,
)
from vitascope.media.writing import (
    LEAST_FPS,
    MOST_FPS,
    check_destination,
    check_free,
    encode,
    folder_for_many,
    make_folder,
    replace_file,
    write,
)

__all__ = [
    "LEAST_FPS",
    "MOST_FPS",
    "VIDEO_ENDINGS",
    "as_picture",
    "check_destination",
    "check_free",
    "contact_sheet",
    "count_frames",
    "encode",
    "filmstrip",
    "folder_for_many",
    "grid",
    "make_folder",
    "mosaic",
    "picture_from_base64png",
    "picture_to_base64png",
    "read_end",
    "read_frames",
    "read_image",
    "read_settings",
    "read_video",
    "replace_file",
    "resize",
    "write",
]
