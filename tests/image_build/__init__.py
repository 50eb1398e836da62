"""What `make agent` made, looked at with foreign tools."""
