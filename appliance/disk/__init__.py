"""Disks: partition tables, block devices, file systems and which of their bytes are in use."""
