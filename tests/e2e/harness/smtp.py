"""A mail server (aiosmtpd) on a port of its own, with answers that a test sets."""

import asyncio
import email
import email.policy
import socket
import threading

from aiosmtpd.smtp import SMTP, AuthResult

from harness.wait import wait_until


class MailServer:
    """`answers` maps "MAIL", "RCPT", "DATA" to a list of replies, used up one by one; then all is taken.
    A reply "stall" is none until the client goes away. `login`: (user, password) that it wants."""

    def __init__(self, answers=None, login=None, context=None, require_tls=False):
        self.answers = {step: list(replies) for step, replies in (answers or {}).items()}
        self.login = login
        self.options = {"tls_context": context, "require_starttls": require_tls, "hostname": "mail.test"}
        if login:
            self.options |= {"authenticator": self.authenticate, "auth_required": True,
                             "auth_require_tls": context is not None}
        self.envelopes = []
        self.asked = {"MAIL": 0, "RCPT": 0, "DATA": 0}
        self.stalled = 0
        self.connections = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(self.loop.create_server(self.connect, sock=self.socket))
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))

    def connect(self):
        self.connections += 1
        return SMTP(self, data_size_limit=64 * 1024 * 1024, loop=self.loop, **self.options)

    def authenticate(self, server, session, envelope, mechanism, data):
        pair = (data.login.decode(), data.password.decode())
        return AuthResult(success=pair == self.login, handled=False)

    async def reply(self, step, default):
        self.asked[step] += 1
        replies = self.answers.get(step)
        reply = replies.pop(0) if replies else default
        if reply == "stall":
            self.stalled += 1
            await asyncio.sleep(3600)
        return reply

    async def handle_MAIL(self, server, session, envelope, address, options):
        reply = await self.reply("MAIL", "250 OK")
        if reply.startswith("2"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = await self.reply("RCPT", "250 OK")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):
        reply = await self.reply("DATA", "250 taken")
        if reply.startswith("2"):
            self.envelopes.append(envelope)
        return reply

    def wait_for_message(self):
        """The next message, as (sender, recipients, parsed by Python's email)."""
        wait_until(lambda: self.envelopes, "a message has come")
        envelope = self.envelopes.pop(0)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert not message.defects, message.defects
        return envelope.mail_from, envelope.rcpt_tos, message
