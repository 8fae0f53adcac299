# The API, the worker, the migrations and the command line in one image.
#
#   docker build -t gogooku3 .                                        runs on a CPU and on a GPU
#   docker build --build-arg TORCH_PIP_ARGS="--index-url <CPU builds of PyTorch>" -t gogooku3:cpu .
#   docker build --build-arg EXTRAS=s3,otel -t gogooku3 .             only these extras; empty = none
#
# torch is installed first and by itself, so that the build that TORCH_PIP_ARGS chose is the one
# that stays. On x86-64 the default build brings CUDA with it (several GB) and also runs without a
# GPU; pass the index of PyTorch's CPU builds for a small image, or that of another CUDA version.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH="torch==2.13.*"
ARG TORCH_PIP_ARGS=""
ARG EXTRAS="s3,otel,jquants,lightgbm,gpu"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gogooku3
ENV PATH=/opt/gogooku3/bin:$PATH
RUN pip install ${TORCH_PIP_ARGS} "${TORCH}"
WORKDIR /source
# The dependencies' layer changes only with pyproject.toml.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir app worker gogooku3 migrations \
    && touch app/__init__.py worker/__init__.py gogooku3/__init__.py migrations/__init__.py \
    && pip install ".${EXTRAS:+[${EXTRAS}]}" && pip uninstall --yes gogooku3
COPY app app
COPY worker worker
COPY gogooku3 gogooku3
COPY migrations migrations
RUN rm -rf build *.egg-info && pip install --no-deps .

FROM python:${PYTHON_VERSION}-slim
# LightGBM's wheel takes the system's OpenMP; an image without a compiler has none.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 gogooku3 \
    && install --directory --owner gogooku3 --group gogooku3 /home/gogooku3/data
COPY --from=build /opt/gogooku3 /opt/gogooku3
ENV PATH=/opt/gogooku3/bin:$PATH PYTHONUNBUFFERED=1 GOGOOKU3_HOME=/home/gogooku3/data
USER gogooku3
WORKDIR /home/gogooku3
VOLUME /home/gogooku3/data
EXPOSE 8642
STOPSIGNAL SIGTERM
ENTRYPOINT ["gogooku3"]
CMD ["--help"]
