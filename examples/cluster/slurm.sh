#!/bin/bash
# Four nodes of eight GPUs each: a head on the first, a worker of Ray on the others, then the study.
#   sbatch examples/cluster/slurm.sh study.yaml /shared/results
#SBATCH --job-name=safemlrm
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
set -euo pipefail

study=$1
sink=$2
gpus=8
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(head -n 1 <<<"$nodes")
address=$head:6379

# `ray start --block` ends with the allocation; keys that the study names are in its environment.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --port=6379 --num-gpus=$gpus --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 30
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \
        --exclude="$head" --overlap \
        ray start --address="$address" --num-gpus=$gpus --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    sleep 30
fi

# The driver runs beside the head. When the allocation ends first, submit the same job again.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    safemlrm run "$study" --ray "$address" --parquet-out "$sink" \
    --workers $((SLURM_JOB_NUM_NODES * gpus)) --gpus-per-worker 1
