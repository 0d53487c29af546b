"""One file = one layout on disk; `segnosis.data.open` asks each in turn whether it recognises a folder.

A reader is a module with `PRIORITY` (lower is asked first), `LOOKS_FOR` (one phrase for the error when nobody
recognises a folder), `recognise(folder)`, `index(folder)`, `read_image(root, entry, k)`, `read_mask(root, entry, k)`,
`image_kind(root, entry)` and `example(root)`; see `segnosis.data.readers.base`.
"""

NOT_UNITS = (
    "base",
    "cache",
    "crc32c",
    "images",
    "json_records",
    "masks_drawn",
    "naming",
    "nifti_volume",
    "protobuf",
    "tables",
    "tiff_pages",
)
