"""Disk images with a GPT and FAT file systems, as the image build makes them."""

from __future__ import annotations

from bootdisk.gptdisk import (
    MIB,
    SECTOR,
    Partition,
    copy_disk,
    copy_range,
    data_extents,
    make_fat,
    make_table,
)

__all__ = [
    "MIB",
    "SECTOR",
    "Partition",
    "copy_disk",
    "copy_range",
    "data_extents",
    "make_fat",
    "make_table",
]
