"""The program that runs in a PC which has booted from the box: it captures or restores that PC's disk.

It lives in an initramfs with the standard library, zstandard and blake3 only. One start does at most one task, says on
every console and to the box what it does, and ends with one of `session.Exit`; it never begins anew by itself.
"""
