"""An SMTP server on the loopback that keeps what it is given: RFC 5321, STARTTLS (RFC 3207), AUTH PLAIN (RFC 4954).

It runs in a thread of its own, because smtplib blocks.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path


@dataclass
class SmtpSink:
    """What it shall do, and what it has taken."""

    tls: ssl.SSLContext | None = None  # STARTTLS is offered
    accounts: dict[str, str] = field(default_factory=dict)  # name -> password; none: nobody need sign in
    answers: dict[str, str] = field(default_factory=dict)  # verb -> what is said instead: `DATA` -> `451 full`
    dumb: bool = False  # takes connections and says nothing
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    signed_in: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            with suppress(OSError):  # the other side has gone, or did not trust us
                if self.dumb:
                    await reader.read()
                else:
                    await _Dialogue(self, reader, writer).run()
        finally:
            writer.transport.abort()

    @contextmanager
    def listening(self) -> Iterator[SmtpSink]:
        """Serve on `port` (0: any free one) until the block ends."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(_close(server), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.01)  # transports that were aborted close their sockets in the next turns


class _Dialogue:
    def __init__(self, sink: SmtpSink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sink, self.reader, self.writer = sink, reader, writer
        self.safe = False
        self.user = ""
        self.to: list[str] = []

    async def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def run(self) -> None:
        await self.say("220 sink ESMTP")
        while line := (await self.reader.readline()).decode().strip():
            verb = line.split(" ")[0].upper()
            if verb in self.sink.answers:
                await self.say(self.sink.answers[verb])
            elif verb == "QUIT":
                await self.say("221 bye")
                return
            elif not await self.obey(verb, line):
                await self.say("502 not here")

    async def obey(self, verb: str, line: str) -> bool:
        if verb in ("EHLO", "HELO"):
            await self.say("250-sink")
            if self.sink.tls is not None and not self.safe:
                await self.say("250-STARTTLS")
            if self.sink.accounts and (self.safe or self.sink.tls is None):
                await self.say("250-AUTH PLAIN")
            await self.say("250 8BITMIME")
        elif verb == "STARTTLS" and self.sink.tls is not None:
            await self.say("220 go on")
            await self.writer.start_tls(self.sink.tls)
            self.safe = True
        elif verb == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            self.user = user if self.sink.accounts.get(user) == password else ""
            await self.say("235 welcome" if self.user else f"535 not with {password}")  # as careless servers do
        elif verb == "MAIL" and self.sink.accounts and not self.user:
            await self.say("530 sign in first")
        elif verb == "RCPT":
            self.to.append(line.partition("<")[2].partition(">")[0])
            await self.say("250 ok")
        elif verb in ("MAIL", "RSET", "NOOP"):
            await self.say("250 ok")
        elif verb == "DATA":
            await self.take()
        else:
            return False
        return True

    async def take(self) -> None:
        await self.say("354 go on")
        raw = b""
        while (line := await self.reader.readline()) not in (b".\r\n", b""):
            raw += line.removeprefix(b".")
        mail = message_from_bytes(raw, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.sink.mails.append(mail)
        self.sink.recipients.append(self.to)
        self.sink.encrypted.append(self.safe)
        self.sink.signed_in.append(self.user)
        self.to = []
        await self.say("250 taken")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that is its own authority: its file, and a server's context with it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=sink", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
