# syntax=docker/dockerfile:1
# sea with CUDA: docker build -t sea . && docker run --rm --gpus all -v "$PWD:/data" --user "$(id -u):$(id -g)" sea --help
#
# The CUDA libraries come with torch's wheels, so the base needs none: a host with NVIDIA's driver (580 or later for
# CUDA 13) and container toolkit is enough. Extras: --build-arg EXTRAS=plot,lid. What a user mounts at /data is the working
# folder, as on a command line without a container; caches go to /cache, which may be a volume too.
ARG PYTHON=3.12.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG EXTRAS=plot,lid
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# Dependencies first: their layer is several GB, and stays as long as these two files do.
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/sea \
 && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; e = p['optional-dependencies']; print('\n'.join(p['dependencies'] + [d for x in '${EXTRAS}'.split(',') if x for d in e[x]]))" > requirements.txt \
 && /opt/sea/bin/pip install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY seatools seatools
RUN /opt/sea/bin/pip install --no-deps . && /opt/sea/bin/sea --version

FROM python:${PYTHON}
# torch.compile makes C++ and Triton kernels at run time; everything else runs without a compiler.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 sea \
 && install -d -o sea -g sea -m 1777 /data /cache
COPY --from=build /opt/sea /opt/sea
ENV PATH=/opt/sea/bin:$PATH HF_HOME=/cache/huggingface XDG_CACHE_HOME=/cache HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
USER sea
WORKDIR /data
VOLUME ["/data", "/cache"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sea"]
CMD ["--help"]
