"""nginx in front of heddle: with the configuration that `make run` uses, or with the one for production."""

import http.client
import shutil

from harness.build import PROJECT
from harness.programs import Program, free_port
from harness.reply import Reply, header_map
from harness.wait import DEADLINE


def fill_in(text, values):
    """`text` with each of `values`, {what stands there: what shall}, in its place."""
    for there, value in values.items():
        assert there in text
        text = text.replace(there, str(value))
    return text


class Nginx(Program):
    def __init__(self, heddle_address, directory, more_server_lines=""):
        """`heddle_address` as nginx writes it: unix:PATH or ADDRESS:PORT."""
        directory.mkdir()
        self.port = free_port()
        self.write_configuration(heddle_address, directory, more_server_lines)
        command = ["nginx", "-p", directory, "-c", "nginx.conf", "-e", "error.log"]
        super().__init__("nginx", command, directory)
        self.log_path = directory / "error.log"
        self.wait_for_listener(("127.0.0.1", self.port))

    def write_configuration(self, heddle_address, directory, more_server_lines):
        config = (PROJECT / "nginx/run.conf.in").read_text()
        assert config.count("server {") == 1
        (directory / "nginx.conf").write_text(fill_in(config, {
            "@NGINX@": PROJECT / "nginx", "@HEDDLE@": heddle_address, "@PORT@": self.port,
            "server {": "server {\n" + more_server_lines}))

    def connect(self, timeout=DEADLINE):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, target, body=None, headers=None):
        connection = self.connect()
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, header_map(answer.getheaders()), answer.read())
        finally:
            connection.close()


class ProductionNginx(Nginx):
    """nginx/heddle.conf and its companions, installed as it says; the main configuration is that of `make run`."""

    def write_configuration(self, heddle_address, directory, more_server_lines):
        for part in (PROJECT / "nginx").glob("heddle_*"):
            shutil.copy(part, directory)
        main, site, _ = (PROJECT / "nginx/run.conf.in").read_text().partition('    include "@NGINX@/heddle_http"')
        assert site
        (directory / "nginx.conf").write_text(main + "    include heddle.conf;\n}\n")
        (directory / "heddle.conf").write_text(fill_in((PROJECT / "nginx/heddle.conf").read_text(), {
            "unix:/run/heddle/heddle.sock": heddle_address, "/var/log/nginx/access.log": "access.log",
            "listen       80;": f"listen 127.0.0.1:{self.port}; {more_server_lines}"}))
