# Powerstrip as an image. scripts/image makes the wheels, and builds it.
#
# Nothing here asks a package index. Where BUILD_BASE has Python and binutils, nothing asks a package
# archive either; BASE needs neither.
ARG BASE=debian:bookworm-slim
ARG BUILD_BASE=$BASE

FROM $BUILD_BASE AS build
RUN command -v strip >/dev/null && python3 -c 'import ensurepip' || { \
        apt-get update && \
        apt-get install --yes --no-install-recommends binutils python3-venv; \
    }
COPY build/wheels /wheels
COPY scripts/image-python /
RUN /image-python powerstrip powerstrip

FROM $BASE
COPY --from=build /image /
ENV PATH=/opt/powerstrip/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EXPOSE 2375
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "powerstrip"]
# In a network of the container's own, 127.0.0.1 would let nobody in.
CMD ["--listen", "tcp://0.0.0.0:2375"]
