"""Certificates, and an upstream that speaks TLS: nginx in front of the mock."""

import subprocess

from harness.programs import Program, free_port

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Signs certificates in a folder of its own. `cert` is what those trust who trust it."""

    def __init__(self, folder, name="authority"):
        folder.mkdir(exist_ok=True)
        self.folder, self.cert, self.key = folder, folder / "ca.pem", folder / "ca.key"
        openssl("req", "-x509", *KEY, "-days", 2, "-subj", f"/CN={name}", "-keyout", self.key,
                "-out", self.cert)

    def issue(self, name, *hosts):
        """(certificate, key) of a server with these names, or of a client when there are none."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        kinds = [f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts]
        names = ("-addext", f"subjectAltName={','.join(kinds)}") if hosts else ()
        openssl("req", "-x509", *KEY, "-days", 2, "-subj", f"/CN={name}", *names, "-CA", self.cert,
                "-CAkey", self.key, "-keyout", key, "-out", cert)
        return cert, key


CONFIG = """
daemon off;
pid nginx.pid;
user root;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log access.log;
    client_body_temp_path client_body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    scgi_temp_path scgi; uwsgi_temp_path uwsgi;
    upstream mock {{ server {mock}; keepalive 64; }}
    server {{
        listen {address}:{port} ssl{http2} backlog=1024;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols {versions};
        ssl_session_tickets off;
        {lines}
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Protocol $server_protocol;
            proxy_set_header X-Tls $ssl_protocol;
            proxy_set_header X-Client $ssl_client_s_dn;
            proxy_set_header X-Connection $connection;
        }}
    }}
}}
"""


class TlsUpstream(Program):
    """Tells the mock how it was spoken to: X-Protocol, X-Tls, X-Client (the name in the client's certificate)
    and X-Connection (a number). `lines` go into its server block."""

    def __init__(self, mock, folder, certificate, http2=True, versions="TLSv1.2 TLSv1.3", lines="",
                 address="127.0.0.1", port=None):
        folder.mkdir()
        cert, key = certificate
        self.port = port or free_port()
        (folder / "nginx.conf").write_text(CONFIG.format(
            mock=mock.origins[0], address=address, port=self.port, http2=" http2" if http2 else "", cert=cert,
            key=key, versions=versions, lines=lines))
        command = ["nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log"]
        super().__init__("tls-upstream", command, folder)
        self.log_path = folder / "error.log"
        self.wait_for_listener((address, self.port))

    def url(self, host="127.0.0.1"):
        return f"https://{host}:{self.port}"
