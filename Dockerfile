# The image of the agent. docs/containers.md tells how to build and to run it.
#
# The base is pinned by a tag, so that a build takes the fixes of Python and Debian; pin it by digest where two
# builds of different days must be the same: --build-arg BASE_IMAGE=python@sha256:…
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
# The time of every file that is made here: builds of the same sources are the same files.
ARG SOURCE_DATE_EPOCH=1767225600
# Bytecode lies in a tree of its own, that of the standard library too: the root is read-only when the agent runs,
# and a health check every few seconds should not compile what it imports. The hash seed is fixed, because the order
# of sets is written into bytecode.
ENV PYTHONPYCACHEPREFIX=/opt/inotify-bridge/bytecode \
    PYTHONHASHSEED=0 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-build.lock requirements-image.lock ./
RUN PYTHONDONTWRITEBYTECODE=1 python -m venv --without-pip /opt/inotify-bridge \
 && PYTHONDONTWRITEBYTECODE=1 python -m venv /build \
 && /build/bin/pip install --quiet --no-compile --require-hashes --only-binary :all: -r requirements-build.lock \
 && /build/bin/pip --python /opt/inotify-bridge/bin/python install --quiet --no-compile --require-hashes \
      --only-binary :all: -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY inotify_bridge inotify_bridge
RUN /build/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir /wheels . \
 && /build/bin/pip --python /opt/inotify-bridge/bin/python install --quiet --no-compile --no-index --no-deps \
      /wheels/*.whl \
 && rm -rf "${PYTHONPYCACHEPREFIX}" \
 && /opt/inotify-bridge/bin/python -m compileall -q -j 1 --invalidation-mode unchecked-hash \
      -x '/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data|site-packages|dist-packages)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && /opt/inotify-bridge/bin/python -m compileall -q -j 1 --invalidation-mode unchecked-hash /opt/inotify-bridge/lib \
 && rm /opt/inotify-bridge/bin/*ctivate* \
 && install -d -m 0700 /state/inotify-bridge \
 && find /opt/inotify-bridge /state -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="inotify-bridge" \
      org.opencontainers.image.description="Change data capture for directories: from inotify to RabbitMQ and Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# The folder above each, so that its own time and mode are copied too.
COPY --from=build /opt/ /opt/
# A named volume that is mounted here for the first time takes owner and mode from the image.
COPY --from=build --chown=10001:10001 /state/ /var/lib/
ENV PATH=/opt/inotify-bridge/bin:$PATH \
    PYTHONPYCACHEPREFIX=/opt/inotify-bridge/bytecode \
    PYTHONDONTWRITEBYTECODE=1 \
    LANG=C.UTF-8
USER 10001:10001
EXPOSE 10477
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["inotify-bridge", "healthcheck"]
ENTRYPOINT ["inotify-bridge"]
CMD ["run"]
