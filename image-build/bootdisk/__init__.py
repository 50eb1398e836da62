"""Disks that start, made of files: partition tables, FAT and ext4 file systems, GRUB. Standard library only."""
