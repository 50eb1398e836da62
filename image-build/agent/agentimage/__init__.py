"""How the agent image is made: packages -> tree of files -> cpio archives -> OUTDIR. Standard library only."""
