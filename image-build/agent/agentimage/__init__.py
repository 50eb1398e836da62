"""How the agent image is made: packages -> tree of files -> cpio archives -> OUTDIR. Only the standard library is used."""
