"""nginx in front of heddle, with the configuration that `make run` uses."""

import http.client

from harness.build import PROJECT
from harness.programs import Program, free_port
from harness.reply import Reply, header_map
from harness.wait import DEADLINE


class Nginx(Program):
    def __init__(self, heddle_address, directory, more_server_lines=""):
        """`heddle_address` as nginx writes it: unix:PATH or ADDRESS:PORT."""
        directory.mkdir()
        self.port = free_port()
        config = (PROJECT / "nginx/run.conf.in").read_text()
        for placeholder, value in {"@NGINX@": PROJECT / "nginx", "@HEDDLE@": heddle_address,
                                   "@PORT@": self.port}.items():
            assert placeholder in config
            config = config.replace(placeholder, str(value))
        assert config.count("server {") == 1
        config = config.replace("server {", "server {\n" + more_server_lines)
        (directory / "nginx.conf").write_text(config)
        command = ["nginx", "-p", directory, "-c", "nginx.conf", "-e", "error.log"]
        super().__init__("nginx", command, directory)
        self.log_path = directory / "error.log"
        self.wait_for_listener(("127.0.0.1", self.port))

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
