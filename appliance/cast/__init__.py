"""The cast: sender and receiver as pure state machines (docs/cast-protocol.md). No sockets, no clock, no logs."""
