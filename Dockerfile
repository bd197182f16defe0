# lalm_bench with its CUDA build of PyTorch (the wheel brings CUDA; the host brings the driver).
#   docker build -t lalm_bench .
FROM python:3.11-slim-bookworm AS built
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY conf conf
COPY lalm_bench lalm_bench
COPY launchers launchers
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ".[voxtral,api,listeners,families]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 bench \
    && install -d -o bench -g bench /work /models /mlflow
COPY --from=built /opt/venv /opt/venv
COPY launchers/mlflow-server /usr/local/bin/mlflow-server
ENV PATH=/opt/venv/bin:$PATH \
    HF_HOME=/models \
    LALM_BENCH_DATA=/work/data \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["python", "-m"]
CMD ["lalm_bench", "--help"]
