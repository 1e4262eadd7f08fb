# The three images of docker-compose.yml, one target each: heddle, nginx, upstream.

FROM debian:bookworm-slim AS base
# One user in all three: heddle's socket is 0660, so that only they may connect to it.
RUN groupadd --gid 10001 heddle \
    && useradd --uid 10001 --gid heddle --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin heddle \
    && install -d -o heddle -g heddle -m 0750 /run/heddle

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY scripts/deps.sh scripts/
RUN scripts/deps.sh build
COPY . .
RUN make -j"$(nproc)" programs

FROM base AS heddle
# libfcgi-bin has cgi-fcgi, which the health check calls.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libcurl4 libfcgi-bin libfcgi0ldbl libfyaml0 libjansson4 libjemalloc2 libsqlite3-0 \
        libssl3 tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o heddle -g heddle -m 0750 /var/lib/heddle
COPY --from=build /src/build/release/heddle /usr/local/bin/
COPY --chown=heddle:heddle conf/compose.yaml /etc/heddle/heddle.yaml
USER heddle
RUN ["heddle", "version"]
CMD ["heddle", "serve", "-c", "/etc/heddle/heddle.yaml"]

FROM base AS nginx
# Debian's nginx with its own nginx.conf and our production site; logs go to where docker collects them.
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl nginx \
    && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled/default \
    && sed -i -e '/^user /d' -e 's|^pid .*|pid /tmp/nginx.pid;|' \
        -e 's|worker_connections .*|worker_connections 8192;|' /etc/nginx/nginx.conf \
    && ln -sf /dev/stdout /var/log/nginx/access.log \
    && ln -sf /dev/stderr /var/log/nginx/error.log
COPY --chown=heddle:heddle nginx/heddle_* /etc/nginx/
COPY --chown=heddle:heddle nginx/heddle.conf /etc/nginx/conf.d/
USER heddle
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]

FROM base AS upstream
COPY --from=build /src/build/release/mock-upstream /usr/local/bin/
USER heddle
CMD ["mock-upstream", "--address", "0.0.0.0", "--port", "9001"]
