# A service of another revision of Trelay, in the image of this one: for tests of an upgrade. The build context holds the
# folders services/ and shared/ of that revision.
ARG BASE
FROM ${BASE}
COPY services /opt/revision/services
COPY shared /opt/revision/shared
ENV PYTHONPATH=/opt/revision
