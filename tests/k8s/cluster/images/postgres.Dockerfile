# PostgreSQL from Debian packages, with the environment of the official image: for clusters without an image registry.
ARG BASE
FROM ${BASE}
ENV PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin
# hadolint ignore=DL3008,DL3009
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql \
    && groupadd --gid 999 server && useradd --uid 999 --gid 999 --no-create-home server
COPY postgres-entrypoint.sh /usr/local/bin/postgres-entrypoint.sh
USER 999:999
ENTRYPOINT ["/usr/bin/tini", "--", "/bin/sh", "/usr/local/bin/postgres-entrypoint.sh"]
