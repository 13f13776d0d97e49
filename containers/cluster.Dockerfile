# What jobs and driver of workflow/profiles/kubernetes run in: the image of the Dockerfile beside this file, and Snakemake's executors.
#   docker build -f containers/cluster.Dockerfile -t l2m-cluster --build-arg BASE=l2m-book:cuda .
ARG BASE=l2m-book
# hadolint ignore=DL3006
FROM ${BASE}
# hadolint ignore=DL3002
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends rsync && rm -rf /var/lib/apt/lists/*
USER 1000:1000
# Beside the builds on the volume: what is slow to make is made once for all jobs.
ENV L2M_CACHE=/opt/l2m/_build/cache
RUN .venv/bin/python -m pip install --no-cache-dir --no-build-isolation --editable '.[cluster]'
