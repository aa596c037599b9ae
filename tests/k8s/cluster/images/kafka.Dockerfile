# Kafka from its jars, in the folders of the official image: for clusters without an image registry. The build context holds
# the jars as libs/.
ARG BASE
FROM ${BASE}
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# hadolint ignore=DL3008,DL3009
RUN mkdir -p /usr/share/man/man1 && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless
COPY libs /opt/kafka/libs
RUN mkdir -p /opt/kafka/bin \
    && printf '#!/bin/sh\nexec java $KAFKA_HEAP_OPTS -cp "/opt/kafka/libs/*" kafka.Kafka "$@"\n' >/opt/kafka/bin/kafka-server-start.sh \
    && printf '#!/bin/sh\nexec java -Xmx128m -cp "/opt/kafka/libs/*" kafka.tools.StorageTool "$@"\n' >/opt/kafka/bin/kafka-storage.sh \
    && chmod +x /opt/kafka/bin/*.sh
USER 1000:1000
