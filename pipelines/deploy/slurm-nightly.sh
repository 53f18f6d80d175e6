#!/bin/bash
# A night on Slurm: one scheduler and one worker a task, over TLS, and the nightly job beside them.
#   sbatch --ntasks=32 pipelines/deploy/slurm-nightly.sh /etc/videonovelty/nightly.toml
# Intake, store, runs and this checkout must have the same paths on all nodes. TLS_DIR holds ca.pem, cert.pem and key.pem
# (see pipelines/deploy/README.md), readable by the user alone. A requeued or repeated job resumes.
#SBATCH --job-name=videonovelty
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=10:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
set -euo pipefail
umask 077

config=${1:?usage: sbatch slurm-nightly.sh NIGHTLY.toml}
: "${VIDEONOVELTY_HOME:=/opt/videonovelty}"
: "${TLS_DIR:=$HOME/.videonovelty/tls}"
cd "$VIDEONOVELTY_HOME"
python=$VIDEONOVELTY_HOME/.venv/bin/python
port=$((20000 + SLURM_JOB_ID % 20000))
scheduler=tls://$(hostname --fqdn):$port

export DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$TLS_DIR/ca.pem
for role in SCHEDULER WORKER CLIENT; do
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$TLS_DIR/cert.pem"
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$TLS_DIR/key.pem"
done
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=1
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=null
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=false DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=false
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=false
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1

"$python" -m distributed.cli.dask_scheduler --host "$scheduler" --no-dashboard &
scheduler_pid=$!
srun --ntasks="$SLURM_NTASKS" "$python" -m distributed.cli.dask_worker "$scheduler" \
  --nworkers 1 --nthreads 1 --no-dashboard --death-timeout 120 --local-directory "${SLURM_TMPDIR:-/tmp}" &
workers_pid=$!
trap 'kill "$workers_pid" "$scheduler_pid" 2>/dev/null || true' EXIT

"$python" -m pipelines.nightly "$config" --scheduler "$scheduler" \
  --tls-ca-file "$TLS_DIR/ca.pem" --tls-cert-file "$TLS_DIR/cert.pem" --tls-key-file "$TLS_DIR/key.pem" &
night_pid=$!
trap 'kill -TERM "$night_pid" 2>/dev/null || true' TERM  # drains; the job's next start resumes
code=0
wait "$night_pid" || code=$?
while kill -0 "$night_pid" 2>/dev/null; do wait "$night_pid" || code=$?; done
exit "$code"
