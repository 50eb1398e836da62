"""How the appliance's disk image is made: packages -> root -> file systems -> one disk. Standard library only."""
