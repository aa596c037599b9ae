# An instance of CloudNativePG from Debian packages, with the user of its official images: for clusters without an image
# registry. The tag is the major version, which the operator reads.
ARG BASE
FROM ${BASE}
ENV PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
# hadolint ignore=DL3008,DL3009
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql && usermod --uid 26 --gid 26 postgres
USER 26:26
