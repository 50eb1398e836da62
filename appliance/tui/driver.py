"""Textual's terminal, with an Esc that needs no tenth of a second.

After the byte of Esc its parser waits for the rest of a sequence (`ESCDELAY`), and looks at the clock when something is
read or its loop comes round, which it does ten times a second: a lone Esc takes 100 ms, whatever the delay is. Here the
loop comes round as soon as the delay is over.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from collections.abc import Iterable

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

_IDLE_S = 0.1  # how long the end of the console may go unnoticed
_READ_BYTES = 4096
_MARGIN_S = 0.001  # the parser compares two clocks


class PromptDriver(LinuxDriver):
    """See the module. The keys are read in a thread of their own."""

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode  # a torn character is no reason to end
        wait_s = _IDLE_S
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(wait_s):
                    data = os.read(self.fileno, _READ_BYTES)
                    if not data:  # hung up: there will be no more
                        self.exit_event.wait()
                        return
                    text = decode(data)
                    self._tell(parser.feed(text) if text else ())
                    wait_s = constants.ESCAPE_DELAY + _MARGIN_S
                else:
                    wait_s = _IDLE_S
                self._tell(parser.tick())

    def _tell(self, events: Iterable[Message]) -> None:
        for event in events:
            self.process_message(event)
