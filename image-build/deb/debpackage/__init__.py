"""How the Debian package is made: wheels, our code and files -> a tree -> dpkg-deb. Standard library only."""
